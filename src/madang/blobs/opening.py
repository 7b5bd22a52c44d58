"""Settings in, blobs out."""

from __future__ import annotations

from madang.blobs.buckets import LocalBlobs, S3Blobs
from madang.ports.blobs import Blobs
from madang.settings import Settings


def open_blobs(settings: Settings) -> Blobs:
    """Where the settings say that files are kept. A folder is made if it is not there."""
    if settings.file_storage_type == "local":
        assert settings.file_storage_path is not None, "has a default"
        return LocalBlobs(settings.file_storage_path)
    assert settings.s3_bucket_name is not None, "checked by the settings"
    secret = settings.s3_secret_access_key
    return S3Blobs(
        settings.s3_bucket_name,
        endpoint=settings.s3_endpoint_url,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=None if secret is None else secret.get_secret_value(),
    )
