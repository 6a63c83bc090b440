// What each worker runs. It has the environment of the node that started it.

export default () => ({
  handler: () => new Response(`The ${process.env.NODE_NAME ?? 'main'} node answers, by its worker ${process.pid}.\n`),
})
