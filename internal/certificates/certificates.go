// Package certificates makes the certificates of a process from its flags: those of its client ports, and those that it
// shows to members. It tells of what is wrong with them, now or soon, and of handshakes that fail.
//
// Package config checks the flags against each other, package tlsconf reads the files and makes TLS of them.
package certificates

import (
	"context"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/config"
	"canopy/config/value"
	"canopy/internal/tlsconf"
)

// Certificates are those of a process. The parts are never nil: without files they have no certificate.
type Certificates struct {
	Client *tlsconf.Current // of the client and metrics ports
	Peer   *tlsconf.Current // of the peer port, and towards members

	ClientFailures, PeerFailures *tlsconf.Failures // of the ports; nil until Measure

	self []tlsconf.SelfSigned
	log  *logrus.Logger
}

// side says what is made of the flags of one side.
type side struct {
	files  tlsconf.Files
	policy tlsconf.Policy
	use    tlsconf.Use
	self   *tlsconf.SelfSigned // nil: files are given, or none are needed
}

// sides gives the client side and the peer side.
func sides(c config.Config, proxy bool) (client, peer side) {
	client = side{files: filesOf(c.ClientTLS, "", "client"), policy: policyOf(c.ClientTLS, c.Protocol)}
	listened := append(https(c.ListenClientURLs), https(c.ListenMetricsURLs)...)
	client.use = tlsconf.Use{Serves: len(listened) > 0, Hosts: https(c.AdvertiseClientURLs)}
	if c.ClientTLS.SelfSigned() && len(listened) > 0 {
		client.makes(tlsconf.SelfSigned{Dir: filepath.Join(c.DataDir, "fixtures", "client"), Hosts: shownHosts(listened, client.use.Hosts), Flag: "--auto-tls"})
	}
	peer = side{files: filesOf(c.PeerTLS, "peer-", "peer"), policy: policyOf(c.PeerTLS, c.Protocol)}
	peer.use = tlsconf.Use{Dials: true}
	peer.policy.Unverified = c.PeerTLS.SelfSigned()
	if proxy {
		return client, peer
	}
	listened = https(c.ListenPeerURLs)
	peer.use = tlsconf.Use{Serves: len(listened) > 0, Dials: true, Hosts: https(c.AdvertisePeerURLs)}
	if c.PeerTLS.SelfSigned() && len(listened) > 0 {
		peer.use.Dials = false // nobody asks for it
		peer.makes(tlsconf.SelfSigned{Dir: filepath.Join(c.DataDir, "fixtures", "peer"), Hosts: shownHosts(listened, peer.use.Hosts), Flag: "--peer-auto-tls"})
	}
	return client, peer
}

func (s *side) makes(self tlsconf.SelfSigned) {
	s.self = &self
	s.files.Cert, s.files.Key = self.Files().Cert, self.Files().Key
}

func filesOf(t config.TLS, prefix, whose string) tlsconf.Files {
	file := func(flag, name string) tlsconf.File { return tlsconf.File{Flag: "--" + flag, Name: name} }
	return tlsconf.Files{
		Cert: file(prefix+"cert-file", t.CertFile), Key: file(prefix+"key-file", t.KeyFile),
		Authorities: []tlsconf.File{file(prefix+"trusted-ca-file", t.TrustedCAFile), file(prefix+"ca-file", t.OldCAFile)},
		Revoked:     file(whose+"-crl-file", t.CRLFile),
	}
}

func policyOf(t config.TLS, p config.Protocol) tlsconf.Policy {
	return tlsconf.Policy{
		Demanded: t.Demanded(), AllowedName: t.AllowedName, AllowedHost: t.AllowedHost, AddressVerified: t.VerifySAN,
		MinVersion: p.MinVersion, MaxVersion: p.MaxVersion, CipherSuites: value.CipherSuiteIDs(p.CipherSuites),
	}
}

// https gives the hosts of the URLs of that scheme.
func https(urls value.URLs) (hosts []string) {
	for i := range urls {
		if urls[i].Scheme == "https" {
			hosts = append(hosts, host(&urls[i]))
		}
	}
	return hosts
}

// host is the host of a URL as a certificate has it.
func host(u *url.URL) string { return value.Zoneless(u.Hostname()) }

// shownHosts are the hosts of a certificate that is made here. A listener on all interfaces has no host of its own.
func shownHosts(listened, advertised []string) (hosts []string) {
	for _, host := range append(listened, advertised...) {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			hosts = append(hosts, host)
			continue
		}
		hosts = append(hosts, "localhost", "127.0.0.1", "::1")
		if machine, err := os.Hostname(); err == nil {
			hosts = append(hosts, machine)
		}
	}
	return hosts
}

// Check reads all files, and gives the warnings about them. Its error is one line with flag, file and reason.
func Check(c config.Config) (warnings []config.Note, err error) {
	client, peer := sides(c, c.IsProxy())
	warn := func(texts []string) {
		for _, text := range texts {
			warnings = append(warnings, config.Note{Warning: true, Text: text})
		}
	}
	for _, s := range []side{client, peer} {
		if s.self != nil {
			s.files.Cert, s.files.Key = tlsconf.File{}, tlsconf.File{} // a start makes what is missing
		}
		set, err := s.files.Load()
		if err != nil {
			return nil, err
		}
		warn(set.Warnings(s.files, s.use, time.Now()))
		if s.use.Dials && c.IsProxy() {
			warn(lent(c, set))
		}
	}
	return warnings, nil
}

// lent has the warnings about that.
func lent(c config.Config, set *tlsconf.Set) (warnings []string) {
	if set.Certificate == nil {
		return nil
	}
	open := !c.ClientTLS.Demanded() || len(https(c.ListenClientURLs)) < len(c.ListenClientURLs)
	if open {
		warnings = append(warnings, "--peer-cert-file "+c.PeerTLS.CertFile+": this proxy shows the certificate to members for everyone who reaches it, and asks not everyone for a certificate of their own: use https listeners and --client-cert-auth")
	}
	if name := set.Certificate.Leaf.Subject.CommonName; name != "" {
		warnings = append(warnings, "--peer-cert-file "+c.PeerTLS.CertFile+": the certificate has a common name, "+quoted(name)+", as which members may log in everyone who reaches this proxy: use one without")
	}
	return warnings
}

// Open reads the files, makes those that are to be made, and logs what is to be known of them.
func Open(configuration config.Config, proxy bool, log *logrus.Logger) (*Certificates, error) {
	for _, line := range configuration.TLSSummary() {
		log.Info(line)
	}
	c := &Certificates{log: log}
	client, peer := sides(configuration, proxy)
	for _, each := range []struct {
		side
		into **tlsconf.Current
	}{{client, &c.Client}, {peer, &c.Peer}} {
		if each.self != nil {
			if err := c.renew(*each.self); err != nil {
				return nil, err
			}
			c.self = append(c.self, *each.self)
		}
		current, err := tlsconf.Open(each.files, each.policy, each.use, log)
		if err != nil {
			return nil, err
		}
		*each.into = current
	}
	if proxy {
		c.WarnOfLending(configuration)
	}
	return c, nil
}

// WarnOfLending warns of a proxy that gives everyone who reaches it what its own certificate may do (T43).
func (c *Certificates) WarnOfLending(configuration config.Config) {
	for _, text := range lent(configuration, c.Peer.Set()) {
		c.log.Warn(text)
	}
}

// renew makes a certificate if it is missing or ends soon.
func (c *Certificates) renew(self tlsconf.SelfSigned) error {
	why, err := self.Renew(time.Now())
	if why != "" && err == nil {
		c.log.Infof("%s: made a self-signed certificate, %s, valid for %q: %s", self.Flag, self.Files().Cert.Name, self.Hosts, why)
	}
	if err != nil {
		return &tlsconf.FileError{File: self.Files().Cert, Err: err}
	}
	return nil
}

// renewEvery is how often the certificates that are made here are looked at.
const renewEvery = time.Hour

// Run reads files again when they change, and at SIGHUP, and renews the certificates that are made here, until ctx ends.
// Without files SIGHUP keeps its meaning: it ends the process.
func (c *Certificates) Run(ctx context.Context) {
	var group errgroup.Group
	for _, current := range []*tlsconf.Current{c.Client, c.Peer} {
		group.Go(func() error { current.Run(ctx); return nil })
	}
	look := time.NewTicker(renewEvery)
	defer look.Stop()
	asked := make(chan os.Signal, 1)
	if c.InUse() {
		signal.Notify(asked, syscall.SIGHUP)
		defer signal.Stop(asked)
	}
	for ctx.Err() == nil {
		select {
		case <-look.C:
			for _, self := range c.self {
				if err := c.renew(self); err != nil {
					c.log.Warnf("the certificate could not be renewed: %v", err)
				}
			}
		case <-asked:
			c.log.Info("SIGHUP: certificates, keys and lists are read again")
			c.Reload()
		case <-ctx.Done():
		}
	}
	_ = group.Wait() // there are no errors
}

// Reload reads all files now.
func (c *Certificates) Reload() {
	c.Client.Reload()
	c.Peer.Reload()
}

// InUse tells whether there are files at all.
func (c *Certificates) InUse() bool {
	return len(c.Client.Set().Held())+len(c.Peer.Set().Held()) > 0
}
