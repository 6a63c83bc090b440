import { createRequest, type RequestSource } from '../../../src/platform/request.ts'

/** What a request is made of; what is left out has a plain value. */
export function requestSource(parts: Partial<RequestSource> = {}): RequestSource {
  return {
    method: 'POST',
    url: 'http://localhost/',
    addHeaders: (headers) => headers.append('x-a', '1'),
    body: null,
    signal: new AbortController().signal,
    ip: '192.0.2.7',
    waitUntil: () => {},
    ...parts,
  }
}

export const createLightRequest = (source: RequestSource): Request => createRequest(source, true)
