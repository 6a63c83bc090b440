import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { BreakableNetwork } from '../support/breakable-network.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

const CHROMIUM = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()

let browser: Browser
let mongrel2: Mongrel2
let app: ChildProcess

beforeAll(async () => {
  // Its sandbox does not work for root.
  browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 })
  mongrel2 = await startMongrel2()
})

beforeEach(async () => {
  app = await startApp()
})

afterEach(async () => {
  for (const context of browser.contexts()) await context.close()
  await stopApp()
})

afterAll(async () => {
  await browser?.close()
  await mongrel2?.stop()
})

describe('examples/chat in a browser', () => {
  it('lets two pages talk to each other, each in sight of the other', async () => {
    const alice = await enter('Alice')
    await expect.poll(() => alice.people()).toEqual(['Alice'])
    const bob = await enter('Bob')
    for (const page of [alice, bob]) await expect.poll(() => page.people()).toEqual(['Alice', 'Bob'])
    await alice.say('Hello, Bob!')
    await bob.sees(['Hello, Bob!'])
    await bob.say('Hello, Alice! 👋 äöü')
    for (const page of [alice, bob]) await page.sees(['Hello, Bob!', 'Hello, Alice! 👋 äöü'])
    expect(await alice.names()).toEqual(['Alice', 'Bob'])
    expect([alice.faults, bob.faults]).toEqual([[], []])
  })

  it('shows what was said before to whoever comes, in that room only', async () => {
    const alice = await enter('Alice')
    for (const text of ['one', 'two', 'three']) await alice.say(text)
    await alice.sees(['one', 'two', 'three'])
    const bob = await enter('Bob')
    await bob.sees(['one', 'two', 'three'])
    const elsewhere = await enter('Eve', { room: 'another room' })
    expect([await elsewhere.people(), await elsewhere.texts()]).toEqual([['Eve'], []])
    await bob.leave()
    await expect.poll(() => alice.people()).toEqual(['Alice'])
    // Who left sees the rooms that there are.
    await expect.poll(() => bob.rooms()).toEqual(['lobby 1 there', 'another room 1 there'])
  })

  it('brings a page that lost its network back, with what it missed and with what it could not say', async () => {
    await using network = await BreakableNetwork.to(mongrel2.port)
    const alice = await enter('Alice', { port: network.port })
    const bob = await enter('Bob')
    await alice.say('before')
    for (const page of [alice, bob]) await page.sees(['before'])

    await alice.page.context().setOffline(true)
    network.break()
    await expect.poll(() => alice.state()).not.toBe('connected')
    await expect.poll(() => bob.people()).toEqual(['Bob'])
    for (const text of ['missed 1', 'missed 2', 'missed 3']) await bob.say(text)
    await bob.sees(['before', 'missed 1', 'missed 2', 'missed 3'])
    await alice.say('said in vain')
    expect([await alice.texts(), await alice.pending()]).toEqual([['before'], ['said in vain']])

    network.mend()
    await alice.page.context().setOffline(false)
    for (const page of [alice, bob]) {
      await page.sees(['before', 'missed 1', 'missed 2', 'missed 3', 'said in vain'])
      await expect.poll(() => page.people()).toEqual(['Alice', 'Bob'])
    }
    expect([await alice.state(), await alice.pending(), await alice.gaps()]).toEqual(['connected', [], 0])
    await bob.say('welcome back')
    await alice.sees(['before', 'missed 1', 'missed 2', 'missed 3', 'said in vain', 'welcome back'])
  })

  it('finds out by itself that its connection is dead, and takes its old place on another', async () => {
    await using network = await BreakableNetwork.to(mongrel2.port)
    const alice = await enter('Alice', { port: network.port, clock: true })
    const bob = await enter('Bob')
    network.silence()
    await alice.say('not heard')
    await bob.say('missed')
    await bob.sees(['missed'])
    expect([await alice.state(), await alice.texts()]).toEqual(['connected', []])
    await alice.page.clock.fastForward(60_000)
    for (const page of [alice, bob]) await page.sees(['missed', 'not heard'])
    for (const page of [alice, bob]) expect(await page.people()).toEqual(['Alice', 'Bob'])
  })

  it('says a message once, though its page does not know whether it was heard', async () => {
    await using network = await BreakableNetwork.to(mongrel2.port)
    const alice = await enter('Alice', { port: network.port })
    const bob = await enter('Bob')
    await alice.page.evaluate(`
      window.send = WebSocket.prototype.send
      WebSocket.prototype.send = function (data) {
        // Heard by the server, and heard again, but its answer never comes.
        this.onmessage = null
        send.call(this, data)
        send.call(this, data)
      }`)
    await alice.say('once')
    await bob.sees(['once'])
    expect(await alice.pending()).toEqual(['once'])
    await alice.page.evaluate('WebSocket.prototype.send = window.send')
    network.break()
    await expect.poll(() => bob.people()).toEqual(['Bob'])
    network.mend()
    await expect.poll(() => bob.people()).toEqual(['Alice', 'Bob'])
    await alice.say('twice')
    for (const page of [alice, bob]) await page.sees(['once', 'twice'])
  })

  it('outlives a restart of the app, and says that something may be missing', async () => {
    const alice = await enter('Alice')
    const bob = await enter('Bob')
    await alice.say('before')
    for (const page of [alice, bob]) await page.sees(['before'])
    await stopApp()
    app = await startApp()
    for (const page of [alice, bob]) await expect.poll(() => page.people()).toEqual(['Alice', 'Bob'])
    await bob.say('after')
    for (const page of [alice, bob]) {
      await page.sees(['before', 'after'])
      expect(await page.gaps()).toBe(1)
    }
  })

  it('shows what people write as text, whatever it is: nothing of it runs', async () => {
    const name = '<img src=x onerror="window.evil=1">'
    const room = '<b onclick="evil()">%2f/../"</b>'
    const text = `<script>window.evil=1</script>${name}"}'</li>&lt;`
    // As if the page did not forbid scripts but its own.
    const mallory = await enter(name, { room, bypassCSP: true })
    const bob = await enter('Bob', { room, bypassCSP: true })
    await mallory.say(text)
    for (const visitor of [mallory, bob]) {
      const { page } = visitor
      await visitor.sees([text])
      expect(await visitor.names()).toEqual([name])
      expect(await visitor.people()).toEqual([name, 'Bob'])
      expect(await page.locator('#name').textContent()).toBe(room)
      expect(await page.locator('#room :is(img, script, b[onclick])').count()).toBe(0)
      expect(await page.evaluate('window.evil')).toBeUndefined()
      // It would, had the page taken it for HTML.
      await page.evaluate(`document.body.insertAdjacentHTML('beforeend', ${JSON.stringify(name)})`)
      await page.waitForFunction('window.evil === 1')
    }
  })

  it('lets no script run that is not its own', async () => {
    const { page, faults } = await enter('Alice')
    const refused = page.waitForEvent('console', (message) => message.text().includes('Content Security Policy'))
    await page.evaluate(`document.body.insertAdjacentHTML('beforeend', '<img src=page.css onerror="window.evil=1">')`)
    await refused
    expect(await page.evaluate('window.evil')).toBeUndefined()
    expect(faults.every((fault) => fault.includes('Content Security Policy'))).toBe(true)
  })

  it('sends whoever has a name that is too long back to the entrance, and says why', async () => {
    const page = await open(mongrel2.port)
    await page.evaluate(`localStorage.setItem('name', 'x'.repeat(41))`)
    await page.evaluate(`location.hash = '#lobby'`)
    await page.getByText('Names have 1 to 40 characters.').waitFor()
    expect(await page.locator('#entrance').isVisible()).toBe(true)
  })

  it.each([
    ['no JSON', '{'],
    ['no object', 'null'],
    ['no text', '{"id":"1"}'],
    ['a text that says nothing', '{"id":"1","text":" "}'],
    ['a text that is too long', JSON.stringify({ id: '1', text: 'x'.repeat(2001) })],
    ['a text that is none', '{"id":"1","text":{}}'],
    ['an id that is too long', JSON.stringify({ id: 'x'.repeat(41), text: 'x' })],
  ])('takes leave of a client that sends %s', async (_what, data) => {
    const socket = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/rooms/lobby?client=1&name=Mallory`)
    const closed = once(socket, 'close')
    socket.on('open', () => socket.send(data))
    const [code, reason] = await closed
    expect([code, String(reason)]).toEqual([4000, 'Messages have 1 to 2000 characters.'])
  })
})

/** Somebody at a page. */
class Visitor {
  readonly page: Page
  /** Errors of the page's scripts and of its console. */
  readonly faults: readonly string[]

  constructor(page: Page, faults: readonly string[]) {
    this.page = page
    this.faults = faults
  }

  async say(text: string): Promise<void> {
    await this.page.locator('#speak input').fill(text)
    await this.page.locator('#speak input').press('Enter')
  }

  /** Waits until the texts of the room are these. */
  async sees(texts: readonly string[]): Promise<void> {
    await expect.poll(() => this.texts()).toEqual(texts)
  }

  texts(): Promise<string[]> {
    return this.page.locator('#messages li:not(.pending) p').allTextContents()
  }

  names(): Promise<string[]> {
    return this.page.locator('#messages li:not(.pending) b').allTextContents()
  }

  /** Texts that the server has not said yet. */
  pending(): Promise<string[]> {
    return this.page.locator('#messages .pending p').allTextContents()
  }

  gaps(): Promise<number> {
    return this.page.locator('#messages .gap').count()
  }

  people(): Promise<string[]> {
    return this.page.locator('#people li').allTextContents()
  }

  /** The rooms that the entrance proposes. */
  async rooms(): Promise<string[]> {
    const options = await this.page.locator('#rooms option').all()
    return await Promise.all(
      options.map(async (option) => `${await option.getAttribute('value')} ${await option.textContent()}`),
    )
  }

  state(): Promise<string | null> {
    return this.page.locator('#state').getAttribute('data-state')
  }

  async leave(): Promise<void> {
    await this.page.getByRole('button', { name: 'Leave' }).click()
  }
}

interface EnterOptions extends BrowserContextOptions {
  room?: string
  /** Where the page comes from. Default: Mongrel2. */
  port?: number
  /** Whether the page's clock can be turned forward. */
  clock?: boolean
}

/** Enters a room through the entrance, in a browser of one's own. */
async function enter(
  name: string,
  { room = 'lobby', port = mongrel2.port, clock = false, ...options }: EnterOptions = {},
): Promise<Visitor> {
  const faults: string[] = []
  const page = await open(port, { clock, ...options }, faults)
  await page.getByLabel('Your name').fill(name)
  await page.getByLabel('Room').fill(room)
  await page.getByRole('button', { name: 'Come in' }).click()
  await page.locator('#state[data-state=connected]').waitFor()
  return new Visitor(page, faults)
}

async function open(
  port: number,
  { clock = false, ...options }: EnterOptions = {},
  faults: string[] = [],
): Promise<Page> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  if (clock) await page.clock.install()
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text())
  })
  await page.goto(`http://127.0.0.1:${port}/`)
  return page
}

async function startApp(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/chat/server.ts'], {
    env: { ...process.env, ZEROMQ: mongrel2.endpoint, CHROOT: mongrel2.directory },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const attached = once(child.stdout, 'data')
  const [what] = await Promise.race([attached, once(child, 'exit')])
  if (String(what) !== 'Attached to Mongrel2.\n') throw new Error(`examples/chat/server.ts did not start: ${what}`)
  return child
}

async function stopApp(): Promise<void> {
  if (app.exitCode !== null) return
  const exit = once(app, 'exit')
  app.kill('SIGTERM')
  expect(await exit).toEqual([0, null])
}
