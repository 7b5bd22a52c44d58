"""Files over HTTP: uploads by form and by tus, downloads, thumbnails."""
