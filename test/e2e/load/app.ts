export default {
  fetch: (request: Request) => new Response(request.url.slice(request.url.lastIndexOf('/') + 1)),
}
