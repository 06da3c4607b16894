/** Certificates of a facility: a small private authority, the certificates it signs, and checks of any certificate. */
export { certify, hostName, keyPem, newKeys, type AlternativeName, type Purpose } from './certify.js';
export { issue, makeAuthority, parseHostName, renew, type Issued, type IssueWish } from './facility.js';
export {
  alternativeNamesOf,
  commonNameOf,
  describeCertificate,
  fingerprintOf,
  flawsOf,
  keyBelongs,
  parseCertificate,
  type CertificateFacts,
  type CertificateFlaw,
  type Expectations,
} from './inspect.js';
