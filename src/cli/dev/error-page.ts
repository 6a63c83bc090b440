import { inspect } from 'node:util'
import { handlerFailed, responseOf } from '../../platform/outcomes.ts'
import { describeError } from '../../runtime/log.ts'

const STYLE = `body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 60rem; padding: 0 1rem }
h1 { color: #b00020; font-size: 1.4rem; overflow-wrap: anywhere }
pre { background: #8882; padding: 1rem; overflow: auto }
:root { color-scheme: light dark }`

/** The response of `mongrel2-fetch dev` to an error: a page with its message, stack and causes for browsers, text for other clients. */
export function errorPage(error: unknown, request: Request, title: string): Response {
  const details = detailsOf(error)
  const headers = { 'cache-control': 'no-store' }
  const { status } = handlerFailed()
  if (!request.headers.get('accept')?.includes('text/html'))
    return responseOf({ status, headers, reason: `${title}\n\n${details}` })
  const [message = ''] = describeError(error).split('\n')
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(message)}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(message)}</h1>
<p>${escapeHtml(title)}: ${escapeHtml(`${request.method} ${request.url}`)}</p>
<pre>${escapeHtml(details)}</pre>
</html>
`
  return new Response(page, { status, headers: { ...headers, 'content-type': 'text/html; charset=utf-8' } })
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function detailsOf(error: unknown): string {
  try {
    return inspect(error)
  } catch {
    return describeError(error)
  }
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
}
