import { keepSource, lightRequestsPass, type RequestSource, sourceOfCopy, unwrapRequest } from './light-request.ts'
import { LightResponse, unwrapResponse } from './light-response.ts'
import { sourceOfRequest } from './request.ts'
import { PlatformRequest, PlatformResponse, unwrapMembers } from './stand-in.ts'

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
let restoreMembers: (() => void) | undefined
let replacedFirst = false

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
  if (lightRequestsPass) return // the platform's own members know light objects then
  const restoreRequest = unwrapMembers(PlatformRequest.prototype, unwrapRequest)
  const restoreResponse = unwrapMembers(PlatformResponse.prototype, unwrapResponse)
  restoreMembers = () => {
    restoreRequest()
    restoreResponse()
  }
}

/** Replaces the globals for good, before an app is loaded: it cannot keep the platform's classes or `fetch` then. */
export function replaceGlobalsFirst(): void {
  replaceGlobals()
  replacedFirst = true
}

/**
 * Whether everything that gets a request knows light ones. The platform's own constructor and `fetch` do on some versions of Node only, and an
 * app that was loaded before the globals were replaced may have kept them, or have extended the constructor.
 */
export function lightRequestsAreKnown(): boolean {
  return lightRequestsPass || replacedFirst
}

/** Puts the globals back, but for those that somebody else has replaced meanwhile. */
export function restoreGlobals(): void {
  if (--users > 0) return
  restoreMembers?.()
  restoreMembers = undefined
  for (const name of NAMES) {
    const descriptor = before[name]
    if (descriptor !== undefined && globalThis[name] === REPLACEMENTS[name]) {
      Object.defineProperty(globalThis, name, descriptor)
    }
  }
}

function sourceOf(value: unknown): RequestSource | undefined {
  return typeof value === 'object' && value !== null ? (sourceOfRequest(value) ?? sourceOfCopy(value)) : undefined
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
