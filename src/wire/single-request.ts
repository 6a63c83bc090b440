/**
 * A header of ours, which no Mongrel2 sends: the request is the only one of its connection, which the handler closes behind the answer.
 * Clients cannot write it, since their headers' names come in small letters.
 */
export const SINGLE_REQUEST = 'SINGLE_REQUEST'
