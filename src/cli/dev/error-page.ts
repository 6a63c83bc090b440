import { inspect } from 'node:util'
import { handlerFailed, responseOf } from '../../platform/outcomes.ts'
import { describeError } from '../../runtime/log.ts'
import { causesOf, headline, type Place, placesOf } from './error-places.ts'

/** The header that a page sends to ask which version of the app runs, and of the answer if that version works. */
export const VERSION_HEADER = 'dev-version'

const STYLE = `body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 60rem; padding: 0 1rem }
h1, h2 { color: #b00020; font-size: 1.4rem; overflow-wrap: anywhere; white-space: pre-wrap }
h2 { font-size: 1.1rem }
summary { cursor: pointer; font-family: ui-monospace, monospace }
pre { background: #8882; padding: 1rem 0; overflow: auto }
pre span { display: block; min-width: max-content; padding: 0 1rem }
pre .here { background: #b0002033 }
:root { color-scheme: light dark }
@media (prefers-color-scheme: dark) { h1, h2 { color: #ff6b81 } }`

/** Milliseconds between two questions of a page. */
const POLL_TIME = 300

/** What an error page shows. */
interface Failure {
  readonly error: unknown
  /** The user's code in its stack. */
  readonly places: readonly Place[]
  readonly title: string
  /** The version of the app, which another replaces. */
  readonly version: string
}

/**
 * The response of `mongrel2-fetch dev` to an error: for browsers a page with the user's code, the stack and the causes, which reloads itself
 * when another version of the app works; text for other clients.
 */
export async function errorPage(failure: Failure, request: Request): Promise<Response> {
  const { error, title } = failure
  const details = detailsOf(error)
  const headers = { 'cache-control': 'no-store' }
  const { status } = handlerFailed()
  if (!request.headers.get('accept')?.includes('text/html'))
    return responseOf({ status, headers, reason: `${title}\n\n${details}` })
  // The browser would ask before it sends a form again.
  const script = request.method === 'GET' ? `<script>${reloadScript(failure.version)}</script>` : ''
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(headline(error))}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(headline(error))}</h1>
<p>${escapeHtml(`${title}: ${request.method} ${request.url}`)}</p>
${failure.places.map(codeOf).join('\n')}
${(await Promise.all(causesOf(error).map(causeText))).join('\n')}
<details${failure.places.length === 0 ? ' open' : ''}><summary>The whole stack</summary><pre><span>${escapeHtml(details)}</span></pre></details>
${script}
</html>
`
  return new Response(page, { status, headers: { ...headers, 'content-type': 'text/html; charset=utf-8' } })
}

/** The code around a place; only the first one's is unfolded. */
function codeOf({ name, line, source }: Place, index: number): string {
  const lines = source.map(({ lineNumber, chunk }) => {
    const text = escapeHtml(`${String(lineNumber).padStart(5)}  ${chunk}`)
    return `<span${lineNumber === line ? ' class="here"' : ''}>${text}</span>`
  })
  const open = index === 0 ? ' open' : ''
  return `<details${open}><summary>${escapeHtml(name)}</summary><pre>${lines.join('')}</pre></details>`
}

async function causeText(cause: unknown): Promise<string> {
  const places = await placesOf(cause)
  return [`<h2>${escapeHtml(`Caused by ${headline(cause)}`)}</h2>`, ...places.map(codeOf)].join('\n')
}

/** Asks the page's own address, which the same route leads to this app. */
function reloadScript(version: string): string {
  const init = JSON.stringify({ headers: { [VERSION_HEADER]: version }, cache: 'no-store' })
  return `setInterval(async () => {
  const response = await fetch(location.href, ${init}).catch(() => undefined)
  const version = response?.headers.get('${VERSION_HEADER}')
  if (version && version !== '${version}') location.reload()
}, ${POLL_TIME})`
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
