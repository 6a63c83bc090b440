export { Mongrel2Dispatcher, type Mongrel2DispatcherOptions } from './dispatcher.ts'
