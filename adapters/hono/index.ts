export { getConnInfo } from './conn-info.ts'
export { type Bindings, type Mongrel2Variables, mongrel2 } from './middleware.ts'
export { type HonoUpgradeOptions, upgradeWebSocket } from './websocket.ts'
