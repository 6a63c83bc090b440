import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { chromium } from 'playwright-core'
import { afterEach, describe, expect, it } from 'vitest'
import { echoOf } from '../support/echo.ts'
import { StartedExample, Terminal } from '../support/started-example.ts'

// Each example runs as `npm start -- NAME` runs it: with a real Mongrel2, and whatever else belongs to it.

let example: StartedExample

/** It ends cleanly, whatever the test has left open. */
afterEach(async () => {
  expect(await example.stop(), example.output).toBe(0)
})

describe('examples/json-chat', () => {
  it('lets two terminals talk, and tells who comes and goes', async () => {
    example = await StartedExample.start('json-chat')
    using ann = new Terminal('@chat', example.port)
    await expect.poll(() => ann.screen).toContain('What is your name?')
    ann.type('Ann')
    await expect.poll(() => ann.screen).toContain('Hello, Ann. Here are: nobody else.')

    using bob = new Terminal('@chat', example.port)
    await expect.poll(() => bob.screen).toContain('What is your name?')
    bob.type('Ann')
    await expect.poll(() => bob.screen).toContain('Ann is here already.')
    bob.type('Bob')
    await expect.poll(() => bob.screen).toContain('Hello, Bob. Here are: Ann.')
    await expect.poll(() => ann.screen).toContain('Bob joins.')

    ann.type('Is anybody \x1b[2Jthere?')
    await expect.poll(() => bob.screen).toContain('Ann: Is anybody [2Jthere?')
    await expect.poll(() => ann.screen).toContain('Ann: Is anybody [2Jthere?')
    bob.type('Yes')
    await expect.poll(() => ann.screen).toContain('Bob: Yes')

    bob.leave()
    await expect.poll(() => ann.screen).toContain('Bob leaves.')
    // The server closes those who are there when it ends.
    expect(await example.stop()).toBe(0)
    await ann.closed
  })

  it('closes a client that sends something else', async () => {
    example = await StartedExample.start('json-chat')
    const socket = connect(example.port, '127.0.0.1')
    socket.write('@chat {"text":1}\0')
    await once(socket.resume(), 'end')
    socket.destroy()
  })
})

describe('examples/bbs', () => {
  it('keeps what one writes and another reads', async () => {
    example = await StartedExample.start('bbs')
    using ann = new Terminal('@bbs', example.port)
    await expectDialogue(ann, [
      ['Your name: ', 'Ann'],
      ['[Q]uit, Ann? ', 'l'],
      ['There is nothing yet.\n(Enter) ', ''],
      ['[Q]uit, Ann? ', 'p'],
      ['Title: ', 'Lost'],
      ['Text, ended by an empty line:\n', 'One glove,'],
      ['', 'left hand.'],
      ['', ''],
      ['Posted.\n(Enter) ', ''],
    ])
    using bob = new Terminal('@bbs', example.port)
    await expectDialogue(bob, [
      ['Your name: ', 'Bob'],
      ['[Q]uit, Bob? ', 'l'],
      ['1. Lost (Ann)\n(Enter) ', ''],
      ['[Q]uit, Bob? ', 'r'],
      ['Number: ', '1'],
      ['Lost, by Ann\n\nOne glove,\nleft hand.\n(Enter) ', ''],
      ['[Q]uit, Bob? ', 'r'],
      ['Number: ', '2'],
      ['There is no such post.\n(Enter) ', ''],
      ['[Q]uit, Bob? ', 'q'],
    ])
    await bob.closed
    expect(bob.screen).toMatch(/Goodbye, Bob\.\n$/)
  })
})

describe('examples/accounts', () => {
  it('signs up, shares a file that others see at once, and signs out', async () => {
    example = await StartedExample.start('accounts')
    const ann = new Browser(example.origin)
    const bob = new Browser(example.origin)
    expect(await (await ann.get('/')).text()).toMatch(/^<!doctype html>[\s\S]*Sign up/)
    for (const [browser, name] of [
      [ann, 'Ann'],
      [bob, 'Bob'],
    ] as const) {
      const signedUp = await browser.post('/sign-up', { name, password: `the password of ${name}` })
      expect(signedUp.status).toBe(303)
      expect(signedUp.headers.get('set-cookie')).toMatch(/; HttpOnly; SameSite=Lax$/)
    }
    expect(await (await ann.get('/')).text()).toContain('You are Ann.')

    const events = (await bob.get('/events')).body?.getReader()
    const content = randomBytes(1_000_000)
    const file = new File([content], `<Ann's> notes.txt`)
    expect((await ann.post('/files', { file })).status).toBe(303)
    let event = ''
    while (!event.endsWith('\n\n')) event += Buffer.from((await events?.read())?.value ?? []).toString()
    const item = '<li><a href="/files/1">&lt;Ann&#39;s&gt; notes.txt</a> (1000000 bytes) from Ann</li>'
    expect(event).toBe(`event: files\ndata: ${item}\n\n`)
    expect(await (await bob.get('/list')).text()).toBe(item)
    const download = await bob.get('/files/1')
    expect(download.headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''%3CAnn%27s%3E%20notes.txt")
    expect(Buffer.from(await download.arrayBuffer()).equals(content)).toBe(true)
    await events?.cancel()

    const before = ann.cookie
    expect((await ann.post('/sign-out', {})).status).toBe(303)
    expect(await (await ann.get('/')).text()).toContain('Sign in')
    ann.cookie = before
    expect((await ann.get('/list')).status).toBe(401)
    expect((await ann.post('/sign-in', { name: 'Ann', password: 'the password of Ann' })).status).toBe(303)
    expect(await (await ann.get('/')).text()).toContain('You are Ann.')
  })

  it('works in a browser: a progress bar, and a list that changes in another window', async () => {
    example = await StartedExample.start('accounts')
    const executablePath = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
    // Its sandbox does not work for root.
    const chrome = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 })
    try {
      const faults: string[] = []
      const enter = async (name: string) => {
        const page = await (await chrome.newContext()).newPage()
        page.on('pageerror', (error) => faults.push(error.message))
        page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
        await page.goto(example.origin)
        await page.getByLabel('Name').fill(name)
        await page.getByLabel('Password').fill(`the password of ${name}`)
        await page.getByRole('button', { name: 'Sign up' }).click()
        await page.getByText(`You are ${name}.`).waitFor()
        return page
      }
      const [ann, bob] = [await enter('Ann'), await enter('Bob')]
      const notes = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.alloc(300_000) }
      await ann.locator('input[type=file]').setInputFiles(notes)
      await ann.getByRole('button', { name: 'Share' }).click()
      await ann.getByText('Shared.', { exact: true }).waitFor()
      expect(await ann.locator('progress').evaluate((bar) => (bar as unknown as { position: number }).position)).toBe(1)
      for (const page of [ann, bob]) await page.getByText('notes.txt (300000 bytes) from Ann').waitFor()
      await bob.getByRole('button', { name: 'Sign out' }).click()
      await bob.getByRole('button', { name: 'Sign in' }).waitFor()
      // The icon that a browser asks for by itself.
      expect(faults.filter((fault) => !/status of 40[14]/.test(fault))).toEqual([])
    } finally {
      await chrome.close()
    }
  })

  it('refuses wrong passwords, forms of other sites, forged cookies and large files', async () => {
    example = await StartedExample.start('accounts')
    const browser = new Browser(example.origin)
    const account = { name: 'Ann', password: 'correct horse' }
    expect((await browser.post('/sign-up', { ...account, password: 'short' })).status).toBe(400)
    expect((await browser.post('/sign-up', account)).status).toBe(303)
    expect((await browser.post('/sign-up', account)).status).toBe(400)
    expect((await browser.post('/sign-in', { ...account, password: 'battery staple' })).status).toBe(403)
    expect((await browser.post('/sign-in', { ...account, name: 'Bob' })).status).toBe(403)
    expect((await browser.post('/sign-out', {}, 'http://evil.example')).status).toBe(403)
    const big = new File([Buffer.alloc(6 * 2 ** 20)], 'big')
    expect((await browser.post('/files', { file: big })).status).toBe(413)
    expect((await browser.get('/list')).status).toBe(200)
    browser.cookie = browser.cookie.replace(/=./, '=~')
    expect((await browser.get('/list')).status).toBe(401)
  })
})

describe('examples/cluster', () => {
  it('answers by each node, and by the main node alone when the other is gone', async () => {
    example = await StartedExample.start('cluster')
    // A kept connection stays with its worker.
    const ask = async () => await (await fetch(example.origin, { headers: { connection: 'close' } })).text()
    const answers = async () => [...new Set(await Promise.all(Array.from({ length: 8 }, ask)))].sort()
    const byBoth = [
      /^The main node answers, by its worker \d+\.\n$/,
      /^The second node answers, by its worker \d+\.\n$/,
    ]
    let seen: string[] = []
    await expect
      .poll(async () => {
        seen = await answers()
        return seen
      })
      .toEqual(byBoth.map((pattern) => expect.stringMatching(pattern)))

    const worker = Number(/\d+/.exec(seen[1] ?? ''))
    const [, node] = /\) \S (\d+)/.exec(readFileSync(`/proc/${worker}/stat`, 'latin1')) ?? []
    process.kill(Number(node), 'SIGKILL')
    await expect.poll(answers).toEqual([expect.stringMatching(byBoth[0] as RegExp)])
  })
})

describe('examples/nginx', () => {
  it('tells the app what the client asked for, and from where', async () => {
    example = await StartedExample.start('nginx')
    expect(example.output).toContain('through nginx and Mongrel2')
    const forged = {
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil.example',
    }
    const response = await fetch(`${example.origin}/a?b=c`, { headers: forged })
    expect(response.headers.get('server')).toMatch(/^nginx/)
    expect(await response.json()).toEqual({ url: `${example.origin}/a?b=c`, client: '127.0.0.1' })
  })

  it('lets WebSockets, events and uploads pass', async () => {
    example = await StartedExample.start('nginx')
    expect(await echoOf(example.origin.replace('http', 'ws'), 'hello')).toBe('hello')
    const events = (await fetch(`${example.origin}/events`)).body?.getReader()
    expect(Buffer.from((await events?.read())?.value ?? []).toString()).toMatch(/^data: \d{4}-/)
    await events?.cancel()
    expect((await fetch(example.origin, { method: 'POST', body: Buffer.alloc(2 * 2 ** 20) })).status).toBe(200)
  })
})

describe('examples/mp3-stream', () => {
  it('plays the same frames to two listeners, one of whom joins later', async () => {
    example = await StartedExample.start('mp3-stream')
    const first = new Listener()
    await first.listen(example.origin)
    await expect.poll(() => first.music.length).toBeGreaterThan(0)
    const second = new Listener()
    await second.listen(example.origin)
    await expect.poll(() => second.music.length, { timeout: 60_000 }).toBeGreaterThan(10_000)
    // It ends the streams, behind the same frame.
    expect(await example.stop()).toBe(0)
    await Promise.all([first.ended, second.ended])
    expect(first.music.length).toBeGreaterThan(second.music.length)
    expect(first.music.subarray(-second.music.length).equals(second.music)).toBe(true)
    expect(first.music.length % 192).toBe(0)
    for (let at = 0; at < first.music.length; at += 192)
      expect(first.music.subarray(at, at + 4).toString('hex')).toBe('fffb54c0')
  })

  it('has titles for players that ask for them', async () => {
    example = await StartedExample.start('mp3-stream')
    const [plain, titled] = [new Listener(), new Listener()]
    const { headers } = await titled.listen(example.origin, { 'icy-metadata': '1' })
    await plain.listen(example.origin)
    const interval = Number(headers.get('icy-metaint'))
    await expect.poll(() => titled.music.length, { timeout: 60_000 }).toBeGreaterThan(3 * interval)
    expect(await example.stop()).toBe(0)
    await Promise.all([plain.ended, titled.ended])
    const pieces: Buffer[] = []
    for (let at = 0; at < titled.music.length; ) {
      pieces.push(titled.music.subarray(at, at + interval))
      const length = 16 * (titled.music[at + interval] ?? 0)
      const title = titled.music.subarray(at + interval + 1, at + interval + 1 + length).toString()
      expect(title).toMatch(/^StreamTitle='(A tone of \d+ Hz|A rest)';\0*$/)
      at += interval + 1 + length
    }
    expect(Buffer.concat(pieces).subarray(-plain.music.length).equals(plain.music)).toBe(true)
  })
})

/** Who hears examples/mp3-stream. */
class Listener {
  music = Buffer.alloc(0)
  ended: Promise<void> | undefined

  async listen(origin: string, headers: Record<string, string> = {}): Promise<Response> {
    const response = await fetch(`${origin}/stream.mp3`, { headers })
    expect(response.headers.get('content-type')).toBe('audio/mpeg')
    this.ended = this.#read(response)
    return response
  }

  async #read({ body }: Response): Promise<void> {
    for await (const chunk of body ?? []) this.music = Buffer.concat([this.music, chunk])
  }
}

/** Keeps one cookie and does not follow redirects. */
class Browser {
  cookie = ''
  readonly #origin: string

  constructor(origin: string) {
    this.#origin = origin
  }

  async get(path: string): Promise<Response> {
    return await this.#fetch(path, {})
  }

  async post(path: string, fields: Record<string, string | File>, origin = this.#origin): Promise<Response> {
    const body = new FormData()
    for (const [name, value] of Object.entries(fields)) body.set(name, value)
    return await this.#fetch(path, { method: 'POST', body, headers: { origin } })
  }

  async #fetch(path: string, { headers, ...init }: RequestInit): Promise<Response> {
    const response = await fetch(this.#origin + path, {
      ...init,
      headers: { ...headers, cookie: this.cookie },
      redirect: 'manual',
    })
    const [cookie] = response.headers.get('set-cookie')?.split(';') ?? []
    if (cookie !== undefined) this.cookie = cookie
    return response
  }
}

/** Types each answer when what is new on the screen ends with its prompt. */
async function expectDialogue(terminal: Terminal, dialogue: [prompt: string, answer: string][]): Promise<void> {
  let seen = 0
  for (const [prompt, answer] of dialogue) {
    await expect.poll(() => terminal.screen.slice(seen)).toSatisfy((text: string) => text.endsWith(prompt))
    seen = terminal.screen.length
    terminal.type(answer)
  }
}
