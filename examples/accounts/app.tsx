// The routes.

import { readFile } from 'node:fs/promises'
import { type Context, Hono } from 'hono'
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie'
import { csrf } from 'hono/csrf'
import { createMiddleware } from 'hono/factory'
import { secureHeaders } from 'hono/secure-headers'
import { Topic } from 'mongrel2-fetch'
import type { Bindings } from 'mongrel2-fetch/hono'
import { closeSession, isPassword, nameOf, openSession, SESSION_SECONDS, signUp } from './accounts.ts'
import { EntrancePage, Files, FilesPage, type SharedFile } from './pages.tsx'

export const LARGEST_UPLOAD = 5 * 2 ** 20
const MOST_FILES = 20

interface Env {
  Bindings: Bindings
  Variables: { session: string; name: string }
}

export function createApp({ secret }: { secret: string }): Hono<Env> {
  const app = new Hono<Env>()
  /** The newest first. */
  const files: SharedFile[] = []
  let lastId = 0
  /** Everybody who looks at the list. */
  const viewers = new Topic()

  app.use(secureHeaders({ contentSecurityPolicy: { defaultSrc: ["'self'"] } }))
  // Another site's page can send forms here, with our cookie. This refuses those that do not come from our own pages.
  app.use(csrf())

  for (const [file, type] of [
    ['page.js', 'text/javascript'],
    ['page.css', 'text/css'],
  ] as const) {
    app.get(`/${file}`, async (c) => {
      const content = await readFile(new URL(file, import.meta.url), 'utf8')
      return c.body(content, 200, { 'content-type': `${type}; charset=utf-8` })
    })
  }

  app.post('/sign-up', async (c) => {
    const { name, password } = await readCredentials(c)
    const problem = await signUp(name, password)
    return problem === undefined ? await signIn(c, name) : c.html(<EntrancePage problem={problem} />, 400)
  })
  app.post('/sign-in', async (c) => {
    const { name, password } = await readCredentials(c)
    if (await isPassword(name, password)) return await signIn(c, name)
    return c.html(<EntrancePage problem="The name or the password is wrong." />, 403)
  })

  /** Lets only those through who are signed in. */
  const onlyMembers = createMiddleware<Env>(async (c, next) => {
    const session = (await getSignedCookie(c, secret, 'session')) || ''
    const name = nameOf(session)
    if (name === undefined) return c.html(<EntrancePage />, c.req.path === '/' ? 200 : 401)
    c.set('session', session)
    c.set('name', name)
    // Otherwise the browser's back button shows the pages after signing out.
    c.header('cache-control', 'no-store')
    return await next()
  })
  app.use(onlyMembers)

  app.get('/', (c) => c.html(<FilesPage name={c.var.name} files={files} />))
  app.post('/sign-out', (c) => {
    closeSession(c.var.session)
    deleteCookie(c, 'session')
    return c.redirect('/', 303)
  })

  app.post('/files', async (c) => {
    const { file } = await c.req.parseBody()
    if (!(file instanceof File)) return c.text('Expected a file.\n', 400)
    files.unshift({ id: ++lastId, name: file.name, by: c.var.name, content: file })
    files.splice(MOST_FILES)
    // Rendered once for all who look.
    viewers.send(renderFiles(), { event: 'files' })
    return c.redirect('/', 303)
  })
  app.get('/files/:id', (c) => {
    const file = files.find(({ id }) => String(id) === c.req.param('id'))
    if (file === undefined) return c.notFound()
    // Never shown as a page of ours, whatever is in it.
    const name = encodeURIComponent(file.name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)
    c.header('content-disposition', `attachment; filename*=UTF-8''${name}`)
    c.header('content-type', 'application/octet-stream')
    return c.body(file.content.stream())
  })
  /** The list by itself, for a page that may have missed events. */
  app.get('/list', (c) => c.html(renderFiles()))
  app.get('/events', (c) => viewers.stream(c.req.raw, {}, c.env))

  return app

  function renderFiles(): string {
    return String(<Files files={files} />)
  }

  async function signIn(c: Context<Env>, name: string): Promise<Response> {
    await setSignedCookie(c, 'session', openSession(name), secret, {
      path: '/',
      maxAge: SESSION_SECONDS,
      // Not for scripts, not for other sites' forms, and only encrypted where the page is.
      httpOnly: true,
      sameSite: 'Lax',
      secure: new URL(c.req.url).protocol === 'https:',
    })
    return c.redirect('/', 303)
  }
}

async function readCredentials(c: Context<Env>): Promise<{ name: string; password: string }> {
  const { name, password } = await c.req.parseBody()
  return { name: typeof name === 'string' ? name : '', password: typeof password === 'string' ? password : '' }
}
