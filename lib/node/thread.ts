// What a thread can be asked to do, by name (threads.ts).

export { encode, verify } from './codec-tasks.ts';
export { receive } from './receive.ts';
