// The configuration file of the command in the tests of async contexts.

import { options } from './app.mjs'

const { onError, onUploadStart } = options
export default { onError, onUploadStart }
