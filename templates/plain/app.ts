import type { Mongrel2Env } from 'mongrel2-fetch'

export default function handler(request: Request, env: Mongrel2Env): Response {
  const { pathname } = new URL(request.url)
  if (pathname === '/') return new Response(`Hello, ${env.mongrel2.remoteAddress}!\n`)
  return new Response('Not Found\n', { status: 404 })
}
