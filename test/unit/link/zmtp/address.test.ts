import { expect, it } from 'vitest'
import { addressOf } from '../../../../src/link/zmtp/connection.ts'

it.each([
  ['ipc:///srv/m2/run/send', { path: '/srv/m2/run/send' }],
  ['ipc://run/send', { path: 'run/send' }],
])('%s is a path', (spec, address) => {
  expect(addressOf(spec)).toEqual(address)
})

it.each([
  ['tcp://127.0.0.1:9999', '127.0.0.1'],
  ['tcp://a-host.example.org:9999', 'a-host.example.org'],
  ['tcp://[::1]:9999', '::1'],
  ['tcp://[fe80::1%eth0]:9999', 'fe80::1%eth0'],
])('%s is a host and a port, without delay and asked whether it is there', (spec, host) => {
  expect(addressOf(spec)).toEqual({ host, port: 9999, noDelay: true, keepAlive: true, keepAliveInitialDelay: 20_000 })
})
