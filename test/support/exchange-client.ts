import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { FormData, fetch, type RequestInit, type Response } from 'undici'
import type { Exchange, Exchanges, FormFields } from '../full/frameworks/exchange.ts'
import type { End, StepGate } from './step-gate.ts'

/** What is compared of a response, or why there is none. */
export type Answer = ResponseAnswer | { readonly failure: string }

interface ResponseAnswer {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
  /** How many steps arrived, each before the next one was made, and how the app's generator ended. */
  readonly steps?: { readonly arrived: number; readonly end: End }
}

/** They belong to a connection, say how a body is framed, or tell the time. */
const NOT_COMPARED = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'date'])

/** How long a response may take, in milliseconds; and how long the end of its generator. */
const TIMEOUT = 20_000

/** Makes requests to an app at one address, one after the other, with the cookies that were set before. */
export class ExchangeClient {
  readonly #origin: string
  readonly #gate: StepGate
  readonly #cookies = new Map<string, string>()

  constructor(port: number, gate: StepGate) {
    this.#origin = `http://localhost:${port}`
    this.#gate = gate
  }

  async performAll(exchanges: Exchanges): Promise<Record<string, Answer>> {
    const answers: Record<string, Answer> = {}
    for (const [name, exchange] of Object.entries(exchanges)) {
      try {
        answers[name] = await this.#perform(exchange)
      } catch (error) {
        answers[name] = { failure: `${error} ${(error as Error).cause ?? ''}` }
      }
    }
    return answers
  }

  async #perform(exchange: Exchange): Promise<ResponseAnswer> {
    this.#gate.reset()
    const leaving = new AbortController()
    const signal = AbortSignal.any([AbortSignal.timeout(TIMEOUT), leaving.signal])
    const response = await fetch(`${this.#origin}${exchange.path}`, { ...this.#initOf(exchange), signal })
    this.#keepCookies(response)
    const mask = (text: string) =>
      (exchange.volatile ?? []).reduce((masked, it) => masked.replace(it, '…'), text.replaceAll(this.#origin, 'ORIGIN'))
    const head = {
      status: response.status,
      headers: [...response.headers].filter(isCompared).map(alike).map(mask).sort(),
    }
    if (exchange.steps === undefined) return { ...head, body: shown(await response.arrayBuffer(), mask) }
    const { body, arrived } = await this.#readSteps(response, exchange.steps === 'leave')
    if (exchange.steps === 'leave') {
      leaving.abort()
      this.#gate.leave()
    }
    return { ...head, body: mask(body), steps: { arrived, end: await within(TIMEOUT, this.#gate.ended) } }
  }

  /** Reads a stream; an app makes its next step when the one before has been read. */
  async #readSteps(response: Response, leave: boolean): Promise<{ body: string; arrived: number }> {
    const decoder = new TextDecoder()
    let body = ''
    let arrived = 0
    for await (const chunk of response.body ?? []) {
      body += decoder.decode(chunk, { stream: true })
      while (body.includes(`step-${arrived + 1}`)) {
        arrived++
        if (leave) return { body: '', arrived }
        this.#gate.read(arrived)
      }
    }
    return { body, arrived }
  }

  #initOf({ method, body, headers }: Exchange): RequestInit {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    return {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      redirect: 'manual',
      headers: { ...(cookie === '' ? {} : { cookie }), ...headers },
      ...(body === undefined ? {} : { body: isForm(body) ? formOf(body) : body }),
    }
  }

  #keepCookies(response: Response): void {
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(cookie)) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
  }
}

function isCompared([name]: [string, string]): boolean {
  return !NOT_COMPARED.has(name)
}

/** A body as text; a digest of one that is none. */
function shown(body: ArrayBuffer, mask: (text: string) => string): string {
  const bytes = Buffer.from(body)
  if (isUtf8(bytes)) return mask(bytes.toString())
  return `${bytes.length} bytes, ${createHash('sha256')
    .update(mask(bytes.toString('latin1')))
    .digest('hex')}`
}

/** The platform's Response and that of @hono/node-server write a type each in its own way. */
function alike([name, value]: [string, string]): string {
  return `${name}: ${name === 'content-type' ? value.replace(/;\s*/g, '; ') : value}`
}

function isForm(body: string | Uint8Array | FormFields): body is FormFields {
  return typeof body === 'object' && !(body instanceof Uint8Array)
}

function formOf(fields: FormFields): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'string') form.append(name, value)
    else form.append(name, new File([value.content as Uint8Array<ArrayBuffer>], value.name, { type: value.type }))
  }
  return form
}

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`the app's generator did not end within ${milliseconds} ms`)),
      milliseconds,
    )
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
