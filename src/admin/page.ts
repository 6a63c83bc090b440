import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { packageDirectory } from '../runtime/process/own-modules.ts'

let page: { readonly html: string; readonly policy: string } | undefined

/** The page, whose policy allows its own script and style, requests to its own origin, and nothing else. */
export function pageResponse(): Response {
  page ??= load()
  return new Response(page.html, {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': page.policy,
      'referrer-policy': 'no-referrer',
    },
  })
}

function load(): NonNullable<typeof page> {
  const html = readFileSync(new URL('src/admin/page.html', packageDirectory()), 'utf8')
  const hash = (tag: string) => {
    const [, code = ''] = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(html) ?? []
    return `'sha256-${createHash('sha256').update(code).digest('base64')}'`
  }
  const policy =
    `default-src 'none'; script-src ${hash('script')}; style-src ${hash('style')}; connect-src 'self'; img-src data:; ` +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  return { html, policy }
}
