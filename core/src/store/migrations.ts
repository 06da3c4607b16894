/** Migrates rows of the earlier layout. */

type Row = Readonly<Record<string, unknown>>;

/** The layout that {@link MIGRATIONS} reads. */
export const EARLIER_LAYOUT = 1;

/**
 * Migrations of layout 1, in which a request had another shape in each table: the request fields of a stream record, and
 * `request` with `count` in the records of a gateway. A row of another shape stays unchanged and is reported as
 * damaged when it is read.
 */
export const MIGRATIONS: Readonly<Record<string, (row: unknown) => unknown>> = {
  streams: (row) =>
    isRow(row) && isRow(row.record) && !isRow(row.record.spec) ? { ...row, record: migrateRecord(row.record) } : row,
  // The event `recovered` had another name.
  events: (row) => (isRow(row) && row.what === 'adopted' ? { ...row, what: 'recovered' } : row),
  gateway: (row) => (isRow(row) && isRow(row.request) ? migratePromise(row, row.request) : row),
};

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value);

const ROLES: Row = { PROD: 'inbound', CONS: 'outbound' };

function migrateRecord(record: Row): Row {
  const { name, role, transport, bitsPerSecond, encryption, sources, movable, legacyRate: _unused, ...rest } = record;
  const { listeners, createdAt, expiresAt, proxy, runtime } = record;
  const spec = {
    name,
    role: ROLES[String(role)],
    transport,
    // A stream without listeners was not reserved, and ends at the start.
    connections: Math.max(1, Array.isArray(listeners) ? listeners.length : 1),
    bitsPerSecond,
    lifetimeMs: Date.parse(String(expiresAt)) - Date.parse(String(createdAt)),
    encryption,
    gateway: '',
    proxy,
    runtime,
    ...(sources === undefined ? {} : { sources }),
    ...(movable === undefined ? {} : { movable }),
  };
  return { ...rest, spec };
}

function migratePromise({ request: _old, encrypted, ...rest }: Row, request: Row): Row {
  const { role, transport, count, bitsPerSecond, proxy, runtime, sources } = request;
  const spec = {
    name: '',
    role: ROLES[String(role)],
    transport,
    connections: count,
    bitsPerSecond,
    lifetimeMs: 0,
    encryption: encrypted === true ? 'tls' : 'none',
    gateway: '',
    proxy,
    runtime,
    ...(sources === undefined ? {} : { sources }),
  };
  return { ...rest, spec };
}
