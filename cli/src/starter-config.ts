/** What `scistream config init` writes; every key that is commented out shows its default or an example. */
export const STARTERS = {
  s2uc: `# Configuration of a SciStream user. Check it with: scistream config check --config FILE
# Facilities you use, by the names you like.
facilities:
  aps:
    s2cs: s2cs.aps.example:5000     # address of the control server
    # ca: aps-ca.crt                # trust this authority (default: those of the system)
    # fingerprint: "sha256:…"       # or trust exactly this certificate, as the control server prints it
    # token: { file: aps.token }    # or { env: APS_TOKEN }
    # cert: alice.crt               # client certificate, with key: alice.key
    # auth: { use: oidc, issuer: https://login.aps.example, client: scistream }   # then: scistream login aps
  alcf:
    s2cs: gw.alcf.example:5000

# Streams you make again and again: scistream stream up tomo
streams:
  tomo:
    from: aps                       # where data is produced (inbound side)
    to: alcf                        # where consumers connect (outbound side)
    producer: [10.0.1.5:5001]       # where the producer listens
    connections: 1
    # rate: 20Gbps
    # lifetime: 8h
    # proxy: haproxy
`,
  s2cs: `# Configuration of a SciStream control server. Check it with: s2cs --config FILE --check
facility: aps
listen: 127.0.0.1:5000              # set auth before other machines can reach it
# tls: { cert: server.crt, key: server.key }   # default: self-signed, its fingerprint is printed at the start
# state: /var/lib/scistream
# auth:
#   - use: token                    # scistream keeps only hashes: printf %s TOKEN | sha256sum
#     tokens: [{ subject: alice, sha256: "…" }]
#   - use: oidc                     # tokens of an issuer; users run: scistream login
#     issuer: https://login.aps.example
#     audience: https://stream.aps.example
# limits: { streams: 1000, waiting: 1000, connections: 1024, helloTimeout: 180s, lifetime: 24h }
# encryption: optional              # also serve streams that are not encrypted between the gateways (default: required)

gateways:
  - name: dtn1
    wan: 127.0.0.1                  # inbound (PROD) listeners bind here: the address other facilities reach
    lan: 127.0.0.1                  # outbound (CONS) listeners bind here: the address applications reach
    ports: 5100-5200
    proxy: relay                    # see: scistream proxies
    runtime: process                # see: scistream runtimes
    # s2ds: unix:/run/scistream/s2ds.sock      # default: embedded in the control server; or host:port with tls
    # capacity: 100Gbps

# proxies: { haproxy: { processes: 2 } }       # options of proxies
# plugins: ["@scistream/plugin-haproxy"]       # must be installed; others are not used then
`,
  s2ds: `# Configuration of a SciStream data server on a gateway node. Check it with: s2ds --config FILE --check
name: dtn1
listen: unix:/run/scistream/s2ds.sock          # the same path stands in the s2cs configuration under gateways
# state: /var/lib/scistream-s2ds
wan: 127.0.0.1                      # inbound (PROD) listeners bind here: the address other facilities reach
lan: 127.0.0.1                      # outbound (CONS) listeners bind here: the address applications reach
ports: 5100-5200
proxy: relay                        # see: scistream proxies
runtime: process                    # see: scistream runtimes
# proxies: { haproxy: { processes: 2 } }
`,
} as const;

/** Where it goes unless told otherwise. */
export const STARTER_FILES = { s2uc: 'scistream.config.yaml', s2cs: 's2cs.conf', s2ds: 's2ds.conf' } as const;
