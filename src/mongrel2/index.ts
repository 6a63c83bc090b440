export {
  type ConnectionStatus,
  type ControlCallOptions,
  type ControlOptions,
  createControl,
  type Mongrel2Control,
  type Mongrel2Info,
  type TaskStatus,
} from './control.ts'
export { loadMongrel2Config } from './load-config.ts'
export {
  type DirConfig,
  type HandlerConfig,
  type HostConfig,
  type Mongrel2Config,
  type ProxyConfig,
  renderMongrel2Config,
  type ServerConfig,
} from './render-config.ts'
export type { Mongrel2Flag, Mongrel2Settings } from './settings.ts'
