import { PlatformRequest, PlatformResponse } from './constructors.ts'
import { keepSource, type RequestSource, sourceOfCopy, sourceOfLight, unwrapRequest } from './light-request.ts'
import { LightResponse } from './light-response.ts'

/** Takes light Requests where the platform's takes Requests, and makes the platform's. */
class ReplacedRequest extends PlatformRequest {
  constructor(input: string | URL | Request, init?: RequestInit) {
    super(unwrapRequest(input), init)
    // Also of `new Request(url, request)`, by which frameworks change the URL.
    const source = sourceOf(input) ?? sourceOf(init)
    if (source !== undefined) keepSource(this, source)
  }
}
Object.defineProperty(ReplacedRequest, 'name', { value: 'Request' })
recognise(ReplacedRequest, PlatformRequest)
recognise(LightResponse, PlatformResponse)
Object.setPrototypeOf(LightResponse, PlatformResponse)

/** Our classes in the globals' place; `instanceof` with them holds for everything that is one of the platform's. */
const REPLACEMENTS = { Request: ReplacedRequest, Response: LightResponse, fetch: replacedFetch } as const
type Name = keyof typeof REPLACEMENTS
const NAMES: readonly Name[] = ['Request', 'Response', 'fetch']

let users = 0
let previousFetch = globalThis.fetch
let before: Partial<Record<Name, PropertyDescriptor>> = {}

/**
 * Replaces the global Request, Response and fetch by ones that make and take light objects, until as many
 * `restoreGlobals` have come.
 */
export function replaceGlobals(): void {
  if (users++ > 0) return
  before = {}
  previousFetch = globalThis.fetch
  for (const name of NAMES) {
    before[name] = Object.getOwnPropertyDescriptor(globalThis, name) ?? {}
    Object.defineProperty(globalThis, name, { value: REPLACEMENTS[name], configurable: true, writable: true })
  }
}

/** Puts the globals back, but for those that somebody else has replaced meanwhile. */
export function restoreGlobals(): void {
  if (--users > 0) return
  for (const name of NAMES) {
    const descriptor = before[name]
    if (descriptor !== undefined && globalThis[name] === REPLACEMENTS[name]) {
      Object.defineProperty(globalThis, name, descriptor)
    }
  }
}

function sourceOf(value: unknown): RequestSource | undefined {
  return typeof value === 'object' && value !== null ? (sourceOfLight(value) ?? sourceOfCopy(value)) : undefined
}

function replacedFetch(...[input, init]: Parameters<typeof fetch>): ReturnType<typeof fetch> {
  return previousFetch(unwrapRequest(input), init)
}

/** Lets `instanceof` with a class that replaces the platform's hold for all of the platform's, and with its subclasses as ever. */
function recognise(replacement: object, platform: { readonly prototype: object }): void {
  Object.defineProperty(replacement, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== replacement) return Function.prototype[Symbol.hasInstance].call(this as typeof Function, value)
      return (
        typeof value === 'object' && value !== null && Object.prototype.isPrototypeOf.call(platform.prototype, value)
      )
    },
    configurable: true,
  })
}
