"""Files: what may be uploaded, where it is kept, and how long it may take."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from madang.settings.theme import Seconds, TextList, Theme, shared


class Files(Theme):
    """Uploads and their storage."""

    max_file_size: int = Field(
        10_485_760,
        ge=1,
        validation_alias=shared("MAX_FILE_SIZE"),
        description="Bytes of the largest file that may be uploaded.",
    )
    allowed_file_types: TextList = Field(
        (
            "image/*",
            "audio/*",
            "video/*",
            "application/pdf",
            "application/json",
            "application/rtf",
            "application/zip",
            "text/plain",
            "text/calendar",
            "text/csv",
            "text/markdown",
            "text/tab-separated-values",
            "text/vcard",
            "doc",
            "docx",
            "hwp",
            "hwpx",
            "odp",
            "ods",
            "odt",
            "ppt",
            "pptx",
            "xls",
            "xlsx",
        ),
        validation_alias=shared("ALLOWED_FILE_TYPES"),
        description=(
            "Types of files that may be uploaded: media types, families such as image/*, or "
            "extensions, which stand for their media type; * for all. What a file is, its bytes "
            "say; families do not hold HTML and SVG."
        ),
    )
    file_storage_type: Literal["local", "s3"] = Field(
        "local",
        validation_alias=shared("FILE_STORAGE_TYPE"),
        description="Where files are kept: local is a folder, s3 a bucket.",
    )
    file_storage_path: Path | None = Field(
        None,
        validation_alias=shared("FILE_STORAGE_PATH"),
        description=(
            "Folder for files, the same for all nodes; by default the folder files in `data_dir`."
        ),
    )
    s3_bucket_name: str | None = Field(
        None,
        validation_alias=shared("S3_BUCKET_NAME"),
        description="Bucket for files, where they are kept in s3.",
    )
    s3_endpoint_url: str | None = Field(
        None,
        description="Address of what speaks S3, if it is not Amazon.",
    )
    s3_region: str | None = Field(None, description="Region of the bucket.")
    s3_access_key_id: str | None = Field(
        None,
        description=(
            "Key to the bucket; without one, AWS_ACCESS_KEY_ID or the machine's role is asked."
        ),
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, description="Secret of the key to the bucket."
    )
    upload_idle_timeout: Seconds = Field(
        30.0, gt=0, description="Seconds without a byte after which an upload is cut off."
    )
    upload_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description=(
            "Seconds that one request of an upload may take; tus goes on with the next one."
        ),
    )
    upload_least_speed: int = Field(
        8192,
        ge=0,
        description=(
            "Bytes a second of an upload that may stay when all places are taken and somebody "
            "else comes."
        ),
    )
    uploads_at_once: int = Field(
        64,
        ge=1,
        description=(
            "Uploads that a node takes in at the same time; each may hold 4 MiB of memory."
        ),
    )
    uploads_at_once_per_user: int = Field(
        16, ge=1, description="Uploads that one user may have under way at the same time on a node."
    )
    upload_expiry: Seconds = Field(
        86_400.0,
        gt=0,
        description="Seconds after which an upload that nobody goes on with or sends is deleted.",
    )
    rate_limit_uploads_per_minute: int = Field(
        60, ge=1, description="Uploads that a user may begin in a minute, over all devices."
    )

    @field_validator("file_storage_path")
    @classmethod
    def _folder_in_data_dir(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None or "data_dir" not in info.data:
            return value
        return Path(info.data["data_dir"]) / "files"

    @field_validator("s3_bucket_name")
    @classmethod
    def _bucket_where_there_is_one(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("file_storage_type") == "s3":
            raise ValueError("it is needed where FILE_STORAGE_TYPE is s3")
        return value
