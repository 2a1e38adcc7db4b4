import { method, type MethodTable } from '../rpc/method.js';
import { float, text, texts } from '../rpc/parameters.js';

/** How clients follow the pool. `event.register` and `event.next`, deprecated since XenServer 6.0, are not there. */
export const eventMethods: MethodTable = {
  'event.from': method({
    role: 'read-only',
    parameters: [texts('classes'), text('token'), float('timeout')],
    run: ({ events, session, signal }, [classes, token, timeoutSeconds]) =>
      events.from({ session, classes, token, timeoutSeconds, signal }),
  }),
  'event.inject': method({
    role: 'read-only',
    parameters: [text('class'), text('ref')],
    run: ({ events }, [name, ref]) => events.inject(name, ref),
  }),
};
