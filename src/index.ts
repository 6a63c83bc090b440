export type { CommandConfig } from './cli/config-file.ts'
export type { DispatcherStatistics } from './cluster/dispatcher.ts'
export type { ClusterOptions, JoinOptions } from './cluster/nodes/cluster-options.ts'
export { type ClusterNode, joinCluster } from './cluster/nodes/join-cluster.ts'
export { createKeyPair, type KeyPair, readKeyPair, writeKeyPair } from './cluster/nodes/key-pair.ts'
export { serveWithWorkers, type WorkersServer } from './cluster/serve-with-workers.ts'
export type { AppSource, LoadApp, LoadedApp } from './cluster/worker/config.ts'
export type { WorkersOptions } from './cluster/workers-options.ts'
export { Mongrel2Error, type Mongrel2ErrorCode } from './errors.ts'
export type { DeferOptions, Deferral } from './exchange/deferral.ts'
export type {
  FetchHandler,
  IncomingConnection,
  MessageInfo,
  Mongrel2Context,
  Mongrel2Env,
  ServedRequest,
  UploadInfo,
} from './exchange/handler.ts'
export type { MessageConnection } from './exchange/messages/connection.ts'
export type { JsonMessage, MessageHandlers, XmlMessage } from './exchange/messages/handlers.ts'
export type { Mongrel2Statistics } from './exchange/statistics.ts'
export type { BroadcastTarget } from './exchange/topic/broadcast.ts'
export type { TopicMember } from './exchange/topic/member.ts'
export type { BudgetOptions, NextOptions, StreamOptions, TopicOptions } from './exchange/topic/options.ts'
export type { TopicData } from './exchange/topic/shared-message.ts'
export { Topic } from './exchange/topic/topic.ts'
export type { SocketCloseEvent, SocketErrorEvent } from './exchange/websocket/events.ts'
export type { WebSocketUpgrade } from './exchange/websocket/handshake.ts'
export type {
  OriginCheck,
  PerMessageDeflateOptions,
  UpgradeWebSocketOptions,
} from './exchange/websocket/options.ts'
export type { ServerWebSocket, ServerWebSocketEventMap, SocketMessageEvent } from './exchange/websocket/socket.ts'
export { upgradeWebSocket } from './exchange/websocket/upgrade.ts'
export type { Logger } from './log.ts'
export type {
  EndpointInput,
  EndpointOptions,
  LinkOption,
  Mongrel2Handler,
  Mongrel2Options,
  ReplierOptions,
  UploadOptions,
} from './options.ts'
export { createReplier, type Replier } from './replier.ts'
export { type Mongrel2Server, serveMongrel2 } from './serve.ts'
export type { EventFields } from './wire/event-stream.ts'
