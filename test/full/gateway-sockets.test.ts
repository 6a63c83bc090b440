// The tests of the gateway in one process, with sockets between it and the handler.

process.env.GATEWAY_SCHEME = 'ipc'
await import('../e2e/gateway.test.ts')

export {}
