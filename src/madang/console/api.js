/** The page /docs: Swagger UI over this server's own description. */
SwaggerUIBundle({
  // Beside this page, wherever the server is mounted.
  url: new URL('openapi.json', location.href).href,
  dom_id: '#api',
  deepLinking: true,
  // A validator elsewhere would be told of every server's address.
  validatorUrl: null,
});
