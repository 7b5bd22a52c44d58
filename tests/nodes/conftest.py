"""The servers and houses that the surfaces are tested with."""

from tests.surfaces.conftest import gateway, house, open_house

__all__ = ["gateway", "house", "open_house"]
