package config

import (
	"fmt"
	"net"
)

// remarks are warnings about a configuration that is accepted (F16, F19, F56).
func (d *draft) remarks(groups []group) []Note {
	var notes []Note
	warn := func(format string, args ...any) {
		notes = append(notes, Note{Warning: true, Text: fmt.Sprintf(format, args...)})
	}
	for _, g := range groups {
		for _, r := range g.rows {
			if r.noEffect != "" && r.changed() {
				warn("--%s=%s (from %s) has no effect: %s", r.name, r.value, d.sources[r.name], r.noEffect)
			}
		}
	}
	if d.given["data-dir"] == "" {
		warn("no data-dir provided, using default data-dir ./%s", d.DataDir)
	}
	for _, advertised := range []listener{{"advertise-client-urls", d.AdvertiseClientURLs}, {"initial-advertise-peer-urls", d.AdvertisePeerURLs}} {
		if scopes()[advertised.flag]&d.modes == 0 {
			continue
		}
		urls := advertised.urls
		for i := range urls {
			if ip := net.ParseIP(urls[i].Hostname()); ip != nil && ip.IsUnspecified() {
				warn("advertising %s, which others cannot connect to", &urls[i])
			}
		}
	}
	if len(d.ForcePeerURLs) > 0 && d.modes&restart == 0 {
		warn("--force-peer-urls (from %s) has no effect %s: there is no list of members yet", d.sources["force-peer-urls"], d.where())
	}
	d.tlsRemarks(warn)
	if d.Storage.UnsafeNoFsync && d.modes != proxying {
		warn("--unsafe-no-fsync (from %s): acknowledged writes WILL BE LOST when the machine crashes", d.sources["unsafe-no-fsync"])
	}
	if d.raw.debug && d.isSet("log-level") && d.given["log-level"] != "debug" {
		warn("--debug (from %s) overrides --log-level=%s", d.sources["debug"], d.given["log-level"])
	}
	for _, s := range []side{d.clientSide(), d.peerSide()} {
		if !s.ClientCertAuth && s.Demanded() && s.Serves() { // T4
			notes = append(notes, Note{Text: fmt.Sprintf("--%s is given, so %ss must present a certificate of its authorities", d.demands(s), s.whose)})
		}
	}
	return notes
}
