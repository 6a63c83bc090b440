export type { CommandConfig } from './cli/options/command-options.ts'
export { type ClusterNode, joinCluster } from './cluster/join-cluster.ts'
export { createKeyPair, type KeyPair, readKeyPair, writeKeyPair } from './cluster/key-pair.ts'
export type { ClusterOptions, JoinOptions, WorkersOptions } from './cluster/options.ts'
export { serveWithWorkers, type WorkersServer } from './cluster/serve-with-workers.ts'
export type { TopicData } from './connection/shared-message.ts'
export type { Mongrel2Statistics } from './exchange/application.ts'
export type { Mongrel2Handler, Mongrel2Options } from './exchange/options.ts'
export type { JsonMessage, MessageConnection, MessageHandlers, XmlMessage } from './message-socket/types.ts'
export type { LinkEvent, WorkerEvent } from './operations/channels.ts'
export type { RequestEntry, RequestTrace } from './operations/request-entry.ts'
export type { ConnectionState, LinkState, PlaceState, ServerState, WorkerState } from './operations/server-state.ts'
export type { EndpointInput, EndpointOptions, LinkOption, UploadOptions } from './options/endpoint.ts'
export type {
  DeferOptions,
  Deferral,
  FetchHandler,
  IncomingConnection,
  MessageInfo,
  Mongrel2Context,
  Mongrel2Env,
  ServedRequest,
  UploadInfo,
} from './platform/handler.ts'
export { createReplier, type Replier, type ReplierOptions } from './replier.ts'
export { Mongrel2Error, type Mongrel2ErrorCode } from './runtime/errors.ts'
export type { LogFields, Logger } from './runtime/log.ts'
export { type Mongrel2Server, serveMongrel2 } from './serve.ts'
export type { BroadcastTarget, TopicMember } from './topic/broadcast.ts'
export type { BudgetOptions, NextOptions, StreamFormat, StreamOptions, TopicOptions } from './topic/options.ts'
export { Topic } from './topic/topic.ts'
export { upgradeWebSocket, type WebSocketUpgrade } from './websocket/handshake.ts'
export type { OriginCheck, PerMessageDeflateOptions, UpgradeWebSocketOptions } from './websocket/options.ts'
export type {
  ServerWebSocket,
  ServerWebSocketEventMap,
  SocketCloseEvent,
  SocketErrorEvent,
  SocketMessageEvent,
} from './websocket/socket.ts'
export type { ClientCertificate } from './wire/client-certificate.ts'
export type { EventFields } from './wire/http.ts'
export type { DispatcherStatistics } from './workers/dispatcher/dispatcher.ts'
export type { AppSource, LoadApp, LoadedApp } from './workers/worker/worker-config.ts'
