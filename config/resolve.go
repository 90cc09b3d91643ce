package config

import (
	"fmt"
	"net"
	"os"
	"strings"

	"canopy/config/value"
)

// resolve puts aliases and derived defaults into the draft. It finds no faults: verify, which runs after it, does.
func (d *draft) resolve() {
	d.resolveAddresses()
	if d.raw.debug {
		d.Log.Level = "debug"
	}
	if d.isSet("logger") && !d.isSet("log-format") {
		d.Log.Format = d.raw.logger
	}
	if d.Storage.SnapshotCount == 0 {
		d.Storage.SnapshotCount = 10000
	}
	if d.DataDir == "" {
		d.DataDir = dirName(d.Name) + ".etcd"
	}
	if !d.isSet("initial-cluster") {
		d.bootstrap.initialCluster = d.Name + "=http://localhost:2380," + d.Name + "=http://localhost:7001" // F21
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "" // then its name is not served
	}
	d.HTTP.Hosts = value.NewHostPolicy(d.raw.hosts, machine, d.AdvertiseClientURLs)
}

// dirName is a member's name as the name of one directory: it escapes separators and control characters as in a URL.
func dirName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name) && b.Len() < dirNameMax; i++ {
		if c := name[i]; c == '/' || c == '\\' || c < ' ' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// dirNameMax bounds dirName, in bytes: file systems allow 255.
const dirNameMax = 240

// resolveAddresses gives 0.4's addresses their new names (F14). An advertised address alone also says where to listen:
// on its port, on all interfaces. With a certificate and a key it is an address of https.
func (d *draft) resolveAddresses() {
	for _, a := range []struct {
		advertised, bound   string
		listenFlag          string
		advertise, listenOn *value.URLs
		tls                 TLS
	}{
		{d.raw.addr, d.raw.bindAddr, "listen-client-urls", &d.AdvertiseClientURLs, &d.ListenClientURLs, d.ClientTLS},
		{d.raw.peerAddr, d.raw.peerBindAddr, "listen-peer-urls", &d.AdvertisePeerURLs, &d.ListenPeerURLs, d.PeerTLS},
	} {
		scheme := "http"
		if a.tls.HasCertificate() {
			scheme = "https"
		}
		if a.advertised != "" {
			*a.advertise = addressURLs(scheme, a.advertised)
		}
		switch {
		case a.bound != "":
			*a.listenOn = addressURLs(scheme, a.bound)
		case a.advertised != "" && !d.isSet(a.listenFlag):
			*a.listenOn = addressURLs(scheme, net.JoinHostPort("::", portOf(a.advertised)))
		}
	}
}

// addressURLs is a checked ip:port as the list of one URL that the new flags take.
func addressURLs(scheme, address string) value.URLs {
	urls, err := value.ParseURLs(scheme + "://" + address)
	if err != nil {
		panic("config: a checked address does not make a URL: " + err.Error())
	}
	return urls
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // checked when it was read
	return port
}

// isSet reports whether a flag was given, on the command line or in the environment (F12).
func (d *draft) isSet(flag string) bool { return d.sources[flag].IsSet() }

// list is the effective configuration, in the order of the table. What an alias says counts for the flag it stands for.
func (d *draft) list(groups []group) []Setting {
	sources := map[string]Source{}
	for _, g := range groups {
		for _, r := range g.rows {
			if r.aliasOf != "" && d.isSet(r.name) {
				sources[r.aliasOf] = d.sources[r.name]
			}
		}
	}
	var settings []Setting
	for _, g := range groups {
		for _, r := range g.rows {
			if !r.inForce() {
				continue
			}
			s := Setting{Flag: r.name, Value: r.value.String(), Source: d.sources[r.name]}
			if alias, ok := sources[r.name]; ok && (!s.Source.IsSet() || r.name == "log-level") {
				s.Source = alias
			}
			settings = append(settings, s)
		}
	}
	return settings
}
