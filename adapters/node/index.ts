export {
  type NodeEnv,
  type NodeFetchHandler,
  type NodeHandler,
  type NodeServeOptions,
  type NodeServer,
  serveNode,
} from './serve-node.ts'
