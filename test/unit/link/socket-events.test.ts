import { expect, it } from 'vitest'
import { type Observer, Pull, type Socket } from 'zeromq'
import { socketEvents } from '../../../src/link/zeromq/connection.ts'

/** A socket whose monitor cannot be had a number of times: how a real one comes to it is luck. */
function refusing(times: number, code: string): { socket: Socket; asked: () => number } {
  let asked = 0
  const socket = {
    get events(): Observer {
      if (asked++ < times) throw Object.assign(new Error(code), { code })
      return 'events' as unknown as Observer
    },
  }
  return { socket: socket as unknown as Socket, asked: () => asked }
}

it('waits for the name of a monitor that is still taken', () => {
  const { socket, asked } = refusing(3, 'EADDRINUSE')
  expect(socketEvents(socket)).toBe('events')
  expect(asked()).toBe(4)
})

it('throws what else goes wrong', () => {
  const { socket, asked } = refusing(1, 'EMFILE')
  expect(() => socketEvents(socket)).toThrow('EMFILE')
  expect(asked()).toBe(1)
})

it('throws when the name stays taken', () => {
  const { socket } = refusing(Number.POSITIVE_INFINITY, 'EADDRINUSE')
  expect(() => socketEvents(socket)).toThrow('EADDRINUSE')
})

it('gives the events of a real socket', () => {
  const socket = new Pull()
  expect(socketEvents(socket)).toBe(socket.events)
  socket.close()
  expect(() => socketEvents(socket)).toThrow()
})
