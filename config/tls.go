package config

import (
	"fmt"
	"net"
	"net/url"

	"canopy/config/value"
)

// TLS has the certificates of one side: of the client ports, or of all that happens between members.
type TLS struct {
	CertFile, KeyFile string // both or none
	TrustedCAFile     string // authorities of the others' certificates
	OldCAFile         string // further ones: 2.3's deprecated name, which demanded certificates
	CRLFile           string // revoked certificates; needs an authority
	ClientCertAuth    bool   // as given; Demanded tells what holds
	AllowedName       string // common name that the others' certificates must have; "": any
	AllowedHost       string // DNS name or address that they must be valid for; "": any
	VerifySAN         bool   // they must be valid for the address that they come from (T25)
	Auto              bool   // as given; SelfSigned tells what holds
}

// Demanded tells whether who connects must present a certificate. Who names an authority means it (T4).
func (t TLS) Demanded() bool { return t.ClientCertAuth || t.TrustedCAFile != "" || t.OldCAFile != "" }

// HasCertificate tells whether there is a certificate in files.
func (t TLS) HasCertificate() bool { return t.CertFile != "" && t.KeyFile != "" }

// SelfSigned tells whether this process makes its certificate itself (T27). Files that are given win.
func (t TLS) SelfSigned() bool { return t.Auto && t.CertFile == "" && t.KeyFile == "" }

// Serves tells whether listeners of https can be served.
func (t TLS) Serves() bool { return t.HasCertificate() || t.SelfSigned() }

// summary is what the log says at a start (T2); "" without a certificate.
func (t TLS) summary(which string) string {
	if t.CertFile == "" && t.KeyFile == "" {
		return ""
	}
	return fmt.Sprintf("%sTLS: cert = %s, key = %s, ca = %s, trusted-ca = %s, client-cert-auth = %t",
		which, t.CertFile, t.KeyFile, t.OldCAFile, t.TrustedCAFile, t.Demanded())
}

// TLSSummary has the lines about certificates that a start logs.
func (c Config) TLSSummary() (lines []string) {
	for _, line := range []string{c.ClientTLS.summary("client"), c.PeerTLS.summary("peer")} {
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Protocol is what may be spoken.
type Protocol struct {
	MinVersion, MaxVersion uint16   // of TLS, as crypto/tls numbers them; 0: TLS 1.2, and the newest
	CipherSuites           []string // of TLS 1.2, by Go's names; none: those of Go
}

// tlsRows are the flags of both sides and of the protocol.
func tlsRows(d *draft) []row {
	file := func(name string, p *string, usage string) row {
		return row{name: name, value: value.Text(p, "a file"), usage: usage}
	}
	flag := func(name string, p *bool, usage string) row {
		return row{name: name, value: value.Bool(p), def: "false", usage: usage}
	}
	c, p := &d.ClientTLS, &d.PeerTLS
	return []row{
		file("cert-file", &c.CertFile, "Certificate of the client ports, PEM, followed by intermediate ones. Like all files here it is read again when it changes, each minute, and at SIGHUP."),
		file("key-file", &c.KeyFile, "Key of --cert-file, PEM, not encrypted."),
		flag("client-cert-auth", &c.ClientCertAuth, "Demand of clients a certificate that an authority of --trusted-ca-file has signed. Implied by that flag."),
		file("trusted-ca-file", &c.TrustedCAFile, "Authorities of client certificates, PEM. Clients must then present one."),
		file("ca-file", &c.OldCAFile, "Old name of --trusted-ca-file. If both are given, all authorities count."),
		file("client-crl-file", &c.CRLFile, "Lists of revoked client certificates, PEM or DER. Each must be signed by one of the authorities. Connections with such a certificate are closed."),
		{name: "client-cert-allowed-hostname", value: value.Text(&c.AllowedHost, "a DNS name or an IP address"), usage: "Name that client certificates must be valid for."},
		flag("client-cert-login", &d.HTTP.CertLogin, "While users are enabled, a client certificate stands for the user of its common name, unless a request has credentials. Needs --trusted-ca-file."),
		flag("auto-tls", &c.Auto, "Make a self-signed certificate for the client ports, in `fixtures/client` of the data directory. Clients need that file as their authority. Ignored if --cert-file is given."),
		file("peer-cert-file", &p.CertFile, "Certificate of this member, towards the other members: it is shown by the peer port, and to those that are dialled. A proxy shows it to members."),
		file("peer-key-file", &p.KeyFile, "Key of --peer-cert-file."),
		flag("peer-client-cert-auth", &p.ClientCertAuth, "Demand of members that connect a certificate that an authority of --peer-trusted-ca-file has signed. Implied by that flag."),
		file("peer-trusted-ca-file", &p.TrustedCAFile, "Authorities of the members' certificates: of those that connect, and of those that are dialled. Default for the latter: those of the system."),
		file("peer-ca-file", &p.OldCAFile, "Old name of --peer-trusted-ca-file. If both are given, all authorities count."),
		file("peer-crl-file", &p.CRLFile, "Lists of revoked certificates of members, as --client-crl-file."),
		{name: "peer-cert-allowed-cn", value: value.Text(&p.AllowedName, "a name"), usage: "Common name that certificates of members must have. Excludes --peer-cert-allowed-hostname."},
		{name: "peer-cert-allowed-hostname", value: value.Text(&p.AllowedHost, "a DNS name or an IP address"), usage: "Name that certificates of members must be valid for."},
		flag("peer-verify-san", &p.VerifySAN, "Members must connect from an address that their certificate is valid for. An address proves little, and this fails behind NAT."),
		flag("peer-auto-tls", &p.Auto, "Make a self-signed certificate for the peer port, in `fixtures/peer` of the data directory. Members then do not verify each other: this hides what they say, and keeps nobody out. Ignored if --peer-cert-file is given."),
		{name: "tls-min-version", value: value.TLSVersion(&d.Protocol.MinVersion), def: "TLS1.2", usage: "Oldest version of TLS that is spoken."},
		{name: "tls-max-version", value: value.TLSVersion(&d.Protocol.MaxVersion), usage: "Newest version of TLS that is spoken. Default: the newest there is."},
		{name: "cipher-suites", value: value.CipherSuites(&d.Protocol.CipherSuites), usage: "Cipher suites of TLS 1.2. Those of TLS 1.3 cannot be chosen. Default: all secure ones."},
	}
}

// side is one of the two sets of certificates, with the names of its flags.
type side struct {
	TLS
	flag    func(string) string // gives the name of a flag of this side
	whose   string
	listens []listener
}

func (d *draft) clientSide() side {
	return side{d.ClientTLS, func(name string) string { return name }, "client",
		[]listener{{"listen-client-urls", d.ListenClientURLs}, {"listen-metrics-urls", d.ListenMetricsURLs}}}
}

func (d *draft) peerSide() side {
	return side{d.PeerTLS, func(name string) string { return "peer-" + name }, "peer", []listener{{"listen-peer-urls", d.ListenPeerURLs}}}
}

// allowedHost is the flag of AllowedHost, which is named in another way than the others.
func (s side) allowedHost() string { return s.whose + "-cert-allowed-hostname" }

// crl is the flag of CRLFile.
func (s side) crl() string { return s.whose + "-crl-file" }

// certificates checks the flags of one side against each other (T5, T8, T27). What the files hold is not looked at.
func (v *verifier) certificates(s side) {
	cert, key, ca := s.flag("cert-file"), s.flag("key-file"), s.flag("trusted-ca-file")
	switch {
	case s.CertFile != "" && s.KeyFile == "":
		v.refuse(fmt.Sprintf("--%s %s needs --%s, too", cert, s.CertFile, key), cert, key)
	case s.KeyFile != "" && s.CertFile == "":
		v.refuse(fmt.Sprintf("--%s %s needs --%s, too", key, s.KeyFile, cert), key, cert)
	}
	if s.TrustedCAFile == "" && s.OldCAFile == "" {
		v.needs(s.flag("client-cert-auth"), s.ClientCertAuth, ca)
		v.needs("client-cert-login", s.whose == "client" && v.HTTP.CertLogin, ca)
		v.needs(s.crl(), s.CRLFile != "", ca)
		v.needs(s.allowedHost(), s.AllowedHost != "", ca)
		v.needs("peer-cert-allowed-cn", s.AllowedName != "", ca)
		v.needs("peer-verify-san", s.VerifySAN, ca)
	}
	if s.AllowedName != "" && s.AllowedHost != "" {
		v.refuse("Set only one of flags -peer-cert-allowed-cn and -peer-cert-allowed-hostname", "peer-cert-allowed-cn", "peer-cert-allowed-hostname")
	}
	if s.whose == "peer" && s.SelfSigned() && s.Demanded() {
		flag := ca
		if s.ClientCertAuth {
			flag = s.flag("client-cert-auth")
		}
		v.refuse(fmt.Sprintf("--peer-auto-tls makes certificates that nobody can verify, so it cannot be combined with --%s", flag), "peer-auto-tls", flag)
	}
	if s.CertFile != "" || s.KeyFile != "" || s.SelfSigned() {
		return
	}
	for _, l := range s.listens {
		for i := range l.urls {
			if u := &l.urls[i]; u.Scheme == "https" {
				v.refuse(fmt.Sprintf("cannot listen on TLS for %s in -%s: --%s and --%s, or --%s, must be given", u, l.flag, cert, key, s.flag("auto-tls")), l.flag, cert, key)
			}
		}
	}
}

// needs refuses a flag without the authorities that it is about.
func (v *verifier) needs(flag string, given bool, ca string) {
	if given {
		v.refuse(fmt.Sprintf("--%s needs --%s: there is no authority whose certificates could be demanded", flag, ca), flag, ca)
	}
}

// protocol checks versions and suites (T19).
func (v *verifier) protocol() {
	p := v.Protocol
	if p.MaxVersion != 0 && p.MinVersion > p.MaxVersion {
		v.refuse("--tls-min-version must not be newer than --tls-max-version", "tls-min-version", "tls-max-version")
	}
	if len(p.CipherSuites) > 0 && p.MinVersion > value.TLS12 {
		v.refuse("--cipher-suites cannot be combined with --tls-min-version=TLS1.3, whose suites cannot be chosen", "cipher-suites", "tls-min-version")
	}
}

// tlsRemarks are about schemes and certificates that are accepted, and may not be what was meant.
func (d *draft) tlsRemarks(warn func(format string, args ...any)) {
	for _, s := range []side{d.clientSide(), d.peerSide()} {
		l := s.listens[0]
		if scopes()[l.flag] != 0 && scopes()[l.flag]&d.modes == 0 {
			continue
		}
		for i := range l.urls {
			d.remarkListener(s, &l.urls[i], warn)
		}
		if s.Auto && !s.SelfSigned() {
			warn("ignoring %s auto TLS since certs given", s.whose)
		}
	}
	if d.PeerTLS.SelfSigned() {
		warn("--peer-auto-tls: members do not verify each other, so anyone who can connect to a peer port can read and destroy the cluster")
	}
	d.remarkAdvertised("advertise-client-urls", d.AdvertiseClientURLs, d.ListenClientURLs, warn)
	d.remarkAdvertised("initial-advertise-peer-urls", d.AdvertisePeerURLs, d.ListenPeerURLs, warn)
}

// OpenPorts are the client URLs at which passwords can be read by the network: plain http beyond loopback (A59).
func (c Config) OpenPorts() (urls []string) {
	for i := range c.ListenClientURLs {
		if u := &c.ListenClientURLs[i]; u.Scheme == "http" && !isLoopback(u.Hostname()) {
			urls = append(urls, u.String())
		}
	}
	return urls
}

// remarkListener is about one listener of a side.
func (d *draft) remarkListener(s side, u *url.URL, warn func(format string, args ...any)) {
	if u.Scheme == "http" && s.Serves() { // T11
		warn("The scheme of %s url %s is http while %s key/cert files are presented. Ignored %s key/cert files.", s.whose, u, s.whose, s.whose)
	}
	if u.Scheme == "http" && s.Demanded() && (s.Serves() || s.ClientCertAuth) {
		warn("the listener %s is http, so it asks nobody for a certificate, in spite of --%s", u, d.demands(s))
	}
	if s.whose == "peer" && !isLoopback(u.Hostname()) && (u.Scheme == "http" || !s.Demanded()) { // T39
		warn("anyone who can connect to the peer port %s can read and destroy the cluster: keep it in a private network, or demand certificates of members: https and --peer-client-cert-auth", u)
	}
}

// demands names the flag by which a side demands certificates.
func (d *draft) demands(s side) string {
	switch {
	case s.ClientCertAuth:
		return s.flag("client-cert-auth")
	case s.TrustedCAFile != "":
		return s.flag("trusted-ca-file")
	}
	return s.flag("ca-file")
}

// remarkAdvertised finds advertised URLs whose port is listened on with the other scheme only (T16).
func (d *draft) remarkAdvertised(flag string, advertised, listened value.URLs, warn func(format string, args ...any)) {
	if scope := scopes()[flag]; scope&d.modes == 0 {
		return
	}
	for i := range advertised {
		other := ""
		for j := range listened {
			if listened[j].Port() != advertised[i].Port() {
				continue
			}
			if other = listened[j].String(); listened[j].Scheme == advertised[i].Scheme {
				other = ""
				break
			}
		}
		if other != "" {
			warn("--%s has %s, but the listener at that port has another scheme: %s", flag, &advertised[i], other)
		}
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
