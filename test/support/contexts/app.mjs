import { AsyncLocalStorage } from 'node:async_hooks'
import { appendFileSync } from 'node:fs'

// The app of the tests of async contexts: wherever its code is called it notes what the store holds there, then enters what its user is called, where the
// next would see it if the two shared a context. MODULE is the package to import, NOTES the file to note in.

const { Topic, upgradeWebSocket } = await import(process.env.MODULE)

// A process may load this twice, as an app and for its options.
globalThis.storeOfContexts ??= new AsyncLocalStorage()
const store = globalThis.storeOfContexts
const topic = new Topic()

/** Notes what the store holds at a place in a user's code. */
function note(user, place) {
  appendFileSync(process.env.NOTES, `${user} ${place} ${store.getStore() ?? 'nobody'}\n`)
}

/** A place in a user's code that tries to leave something behind. */
function visit(user, place) {
  note(user, place)
  enter(user)
}

/** Anonymous users enter nothing: they would see what others have left. */
function enter(user) {
  if (!user.startsWith('anonymous')) store.enterWith(user)
}

const ENTRIES = {
  '/text': () => new Response('text'),
  '/stream': (user) => {
    let left = 3
    return new Response(
      new ReadableStream(
        {
          async pull(controller) {
            visit(user, 'pull')
            await null
            controller.enqueue(Buffer.from('chunk\n'))
            if (--left === 0) controller.close()
          },
        },
        { highWaterMark: 0 },
      ),
    )
  },
  '/endless': (user) => {
    note(user, 'begun')
    return new Response(new ReadableStream({ cancel: () => visit(user, 'cancel') }))
  },
  '/signal': (user, { signal }) => {
    signal.addEventListener('abort', () => visit(user, 'abort'))
    note(user, 'waiting')
    return new Promise(() => {})
  },
  '/fail': () => {
    throw new Error('fails')
  },
  '/wait': (user, _request, _env, ctx) => {
    ctx.waitUntil(
      (async () => {
        await null
        visit(user, 'waitUntil')
      })(),
    )
    return new Response('waits')
  },
  '/socket': (user, request) => {
    const { socket, response } = upgradeWebSocket(request)
    socket.onopen = () => {
      visit(user, 'open')
      socket.send('open')
    }
    socket.onmessage = ({ data }) => {
      visit(user, 'message')
      socket.send(data)
    }
    socket.onclose = () => visit(user, 'close')
    return response
  },
  '/member': (user, request) => {
    const { socket, response } = upgradeWebSocket(request)
    topic.add(socket)
    socket.onopen = () => socket.send('open')
    socket.onmessage = ({ data }) => {
      visit(user, 'member')
      topic.send(data)
    }
    socket.onclose = () => visit(user, 'member-close')
    return response
  },
  '/poll': async (user, request) => {
    const response = await topic.next(request, { timeout: 50 })
    visit(user, 'next')
    return response
  },
  '/defer': async (user, request, env) => {
    request.signal.addEventListener('abort', () => visit(user, 'deferred-abort'))
    const { response } = await env.mongrel2.defer({ timeout: 100 })
    visit(user, 'deferred')
    return response
  },
}

async function afterAnAwait(enters, user, answer) {
  await null
  if (enters) enter(user)
  await null
  note(user, 'later')
  return answer()
}

/** @param request Its query names the user, and whether he enters before an await, after one, or in a handler without any. */
export default function fetch(request, env, ctx) {
  const { pathname, searchParams } = new URL(request.url)
  const user = searchParams.get('user') ?? ''
  const when = searchParams.get('when')
  note(user, 'handler')
  if (when !== 'after') enter(user)
  const answer = () => ENTRIES[pathname](user, request, env, ctx)
  return when === 'sync' ? answer() : afterAnAwait(when === 'after', user, answer)
}

export const options = {
  onUploadStart: (request) => {
    visit(new URL(request.url).searchParams.get('user'), 'onUploadStart')
    return undefined
  },
  onError: (_error, request) => {
    visit(new URL(request.url).searchParams.get('user'), 'onError')
    return new Response('failed', { status: 500 })
  },
  messages: {
    open: () => note('socket', 'messages-open'),
    json: ({ data }, connection) => {
      visit(data.user, 'json')
      connection.send('thanks')
    },
  },
}
