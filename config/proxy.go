package config

import (
	"maps"
	"slices"
	"time"

	"canopy/config/value"
)

// Proxy says whether this process is a proxy, and what time-outs it has for members. A time-out of 0 means none.
type Proxy struct {
	Mode            string        // ProxyOff, ProxyReadonly or ProxyOn; default ProxyOff
	FailureWait     time.Duration // between probes of the endpoints; default 5 s
	RefreshInterval time.Duration // between refreshes of the list of members; default 30 s
	DialTimeout     time.Duration // to connect; default 1 s
	WriteTimeout    time.Duration // for one write; default 5 s
	ReadTimeout     time.Duration // for one read, watches included; default 0
}

// The modes of a proxy.
const (
	ProxyOff      = "off"
	ProxyReadonly = "readonly" // only reads are forwarded (P35)
	ProxyOn       = "on"
)

// FirstPeerURLs are all peer URLs of --initial-cluster. A proxy finds its cluster by them; the names in the list do not matter
// (P3). There are none if discovery finds them. The error is an *Error.
func (c Config) FirstPeerURLs() ([]string, error) {
	b := bootstrapper{config: c}
	if c.Discovery.On() {
		if b.checkDiscovery(); len(b.faults) > 0 {
			return nil, &Error{Faults: b.faults, Exit: exitRefused}
		}
		return nil, nil
	}
	cluster, err := value.ParseCluster(c.bootstrap.initialCluster)
	if err != nil {
		b.refuse("error setting up initial cluster: "+err.Error(), "initial-cluster")
		return nil, &Error{Faults: b.faults, Exit: exitRefused}
	}
	var urls []string
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		urls = append(urls, cluster[name].Strings()...)
	}
	return urls, nil
}
