import type { Command } from '@oclif/core';
import CertInit from './cert/init.js';
import CertRenew from './cert/renew.js';
import CertShow from './cert/show.js';
import CheckAuth from './check-auth.js';
import Complete from './complete.js';
import Completion from './completion.js';
import ConfigCheck from './config/check.js';
import ConfigInit from './config/init.js';
import ConfigShow from './config/show.js';
import Doctor from './doctor.js';
import FacilityAdd from './facility/add.js';
import GatewayDrain from './gateway/drain.js';
import GatewayLs from './gateway/ls.js';
import GatewayUndrain from './gateway/undrain.js';
import Login from './login.js';
import Logout from './logout.js';
import PluginInspect from './plugin/inspect.js';
import PluginInstall from './plugin/install.js';
import PluginLs from './plugin/ls.js';
import PluginUninstall from './plugin/uninstall.js';
import PolicyCheck from './policy/check.js';
import Proxies from './proxies.js';
import Runtimes from './runtimes.js';
import S2cs from './s2cs.js';
import S2ds from './s2ds.js';
import InboundRequest from './s2uc/inbound-request.js';
import OutboundRequest from './s2uc/outbound-request.js';
import Release from './s2uc/release.js';
import StateCheck from './state/check.js';
import StateExport from './state/export.js';
import StreamDown from './stream/down.js';
import StreamEvents from './stream/events.js';
import StreamLs from './stream/ls.js';
import StreamStatus from './stream/status.js';
import StreamUp from './stream/up.js';
import StreamUpdate from './stream/update.js';
import StreamVerify from './stream/verify.js';
import StreamWatch from './stream/watch.js';
import TokenNew from './token/new.js';
import Whoami from './whoami.js';

/** Every command, by its id (`:` between the words). Sorted; one line per command. */
export const COMMANDS: Record<string, Command.Class> = {
  'cert:init': CertInit,
  'cert:renew': CertRenew,
  'cert:show': CertShow,
  'check-auth': CheckAuth,
  complete: Complete,
  completion: Completion,
  'config:check': ConfigCheck,
  'config:init': ConfigInit,
  'config:show': ConfigShow,
  doctor: Doctor,
  'facility:add': FacilityAdd,
  'gateway:drain': GatewayDrain,
  'gateway:ls': GatewayLs,
  'gateway:undrain': GatewayUndrain,
  login: Login,
  logout: Logout,
  'plugin:inspect': PluginInspect,
  'plugin:install': PluginInstall,
  'plugin:ls': PluginLs,
  'plugin:uninstall': PluginUninstall,
  'policy:check': PolicyCheck,
  proxies: Proxies,
  runtimes: Runtimes,
  s2cs: S2cs,
  s2ds: S2ds,
  's2uc:inbound-request': InboundRequest,
  's2uc:outbound-request': OutboundRequest,
  's2uc:release': Release,
  'state:check': StateCheck,
  'state:export': StateExport,
  'stream:down': StreamDown,
  'stream:events': StreamEvents,
  'stream:ls': StreamLs,
  'stream:status': StreamStatus,
  'stream:up': StreamUp,
  'stream:update': StreamUpdate,
  'stream:verify': StreamVerify,
  'stream:watch': StreamWatch,
  'token:new': TokenNew,
  whoami: Whoami,
};
