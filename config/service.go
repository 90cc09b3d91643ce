package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"canopy/config/value"
	"canopy/internal/redact"
)

// servicePrefix begins the names of the variables of a discovery service (D35).
const servicePrefix = "DISC_"

// Service is the checked configuration of a discovery service, which is what `canopy discovery` runs.
type Service struct {
	Listen    string        // host:port; default ":8087", on all interfaces
	Endpoints []string      // client URLs of the v2 cluster that keeps the tokens; none: the service has a store of its own
	DataDir   string        // where that store is; default "discovery.canopy"
	Host      string        // begins the URLs of tokens; "": as the request says
	TokenTTL  time.Duration // how long an unused token lives; default 7 days, 0: for ever
	Rate      int           // requests a second that one address may make; default 20, 0: no limit
	NewRate   int           // tokens an hour that one address may make; default 60, 0: no limit
	Forwarded bool          // X-Forwarded-For and X-Forwarded-Proto are trusted
	Memory    int64         // bytes that clients may occupy; default 0: a share of the memory of the process or machine
	CertFile  string        // certificate of the listener, PEM; "": no TLS
	KeyFile   string        // its key
	Log       Log
}

// ServiceInvocation is the result of a command line and an environment of `canopy discovery`.
type ServiceInvocation struct {
	Action  Action // Serve, Help or Version
	Service Service
	Notes   []Note
}

// serviceDraft is a Service that is not complete yet.
type serviceDraft struct {
	Service
	etcd []string // --etcd, the name of --endpoints in the service of the reference
}

func (d *serviceDraft) groups() []group {
	const hour, year = time.Hour, 365 * 24 * time.Hour
	levels := []string{"debug", "info", "warn", "error", "fatal", "panic"}
	endpoint := func(p *[]string) value.Value {
		return value.List(p, parseEndpoint, "http://host:port or https://host:port, several with commas")
	}
	return []group{
		{"Discovery service", []row{
			{name: "addr", value: value.Text(&d.Listen, "host:port, or :port for all interfaces"), def: ":8087", usage: "Where to listen."},
			{name: "host", value: value.Text(&d.Host, "a URL"), usage: "What the URLs of tokens begin with, as in https://disco.example. Default: as each request says."},
			{name: "cert-file", value: value.Text(&d.CertFile, "a file"), usage: "Certificate of the listener, which then speaks https. It is read again when the file changes."},
			{name: "key-file", value: value.Text(&d.KeyFile, "a file"), usage: "Key of the certificate."},
			{name: "endpoints", value: endpoint(&d.Endpoints), usage: "Client URLs of the cluster that keeps the tokens, of any server that speaks the v2 API. Default: a store in this process."},
			{name: "etcd", value: endpoint(&d.etcd), aliasOf: "endpoints", usage: "Old name."},
			{name: "data-dir", value: value.Text(&d.DataDir, "a directory"), def: "discovery.canopy", usage: "Directory of the store in this process. Without effect with --endpoints."},
		}},
		{"Limits", []row{
			{name: "token-ttl", value: value.Time(&d.TokenTTL, time.Minute, 10*year, "for ever"), def: (7 * 24 * hour).String(), usage: "Time after which an unused token is deleted."},
			{name: "rate", value: value.Count(&d.Rate, 1, 1e6, "no limit"), def: "20", usage: "Requests a second from one address; beyond it, 429."},
			{name: "new-rate", value: value.Count(&d.NewRate, 1, 1e6, "no limit"), def: "60", usage: "New tokens an hour for one address; beyond it, 429."},
			{name: "behind-proxy", value: value.Bool(&d.Forwarded), def: "false", usage: "Trust X-Forwarded-For and X-Forwarded-Proto. Only with a proxy in front that sets them."},
			{name: "memory-budget", value: memoryBudget(&d.Memory), def: "0", usage: "Memory that clients may occupy in this process: connections, requests, answers. Beyond it, 503 with Retry-After or a closed connection."},
		}},
		{"Logging", []row{
			{name: "log-level", value: value.Choice(&d.Log.Level, levels, map[string]string{"warning": "warn"}), def: "info", usage: "Least severe level that is logged."},
			{name: "log-format", value: value.Choice(&d.Log.Format, []string{"text", "json"}, nil), def: "text", usage: "One line of text or one JSON object for each entry."},
			{name: "log-outputs", value: value.List(&d.Log.Outputs, parseOutput, "stderr (also default), stdout or file names, with commas"), def: "stderr", usage: "Where log lines go."},
		}},
		{"Instead of serving", []row{
			{name: "help", value: value.Bool(new(bool)), def: "false", command: Help, usage: "Show this text; also -h."},
			{name: "version", value: value.Bool(new(bool)), def: "false", command: Version, usage: "Show the version."},
		}},
	}
}

// newServiceDraft is a serviceDraft with every default, and the table bound to it.
func newServiceDraft() (*serviceDraft, []group) {
	d := &serviceDraft{}
	groups := d.groups()
	for _, g := range groups {
		for i := range g.rows {
			g.rows[i].setDefault()
		}
	}
	return d, groups
}

// ParseService reads the arguments of `canopy discovery` (without these two words) and an environment. The error, if
// any, is an *Error with every fault found.
func ParseService(argv, environ []string) (ServiceInvocation, error) {
	p := newParser(servicePrefix)
	var d *serviceDraft
	d, p.groups = newServiceDraft()
	p.draft = &draft{sources: map[string]Source{}, given: map[string]string{}}
	p.defineAll()
	switch action := p.arguments(argv); {
	case action == Help, action == Version && len(p.faults) == 0:
		return ServiceInvocation{Action: action}, nil
	}
	p.environment(environ)
	p.verifyService(d)
	if len(p.faults) > 0 {
		return ServiceInvocation{Notes: p.notes}, p.failure(Serve)
	}
	if len(d.etcd) > 0 {
		d.Endpoints = d.etcd
	}
	return ServiceInvocation{Service: d.Service, Notes: p.notes}, nil
}

// verifyService finds all faults of values that parsed.
func (p *parser) verifyService(d *serviceDraft) {
	for _, g := range p.groups {
		for _, r := range g.rows {
			if n, ok := r.value.(value.Ranged); ok && n.Check() != nil {
				p.refuse(r.name, "--%s %v (set to %s)", r.name, n.Check(), r.value)
			}
		}
	}
	if _, _, err := net.SplitHostPort(d.Listen); err != nil {
		p.refuse("addr", "--addr must be host:port or :port (set to %q)", d.Listen)
	}
	if u, err := url.Parse(d.Host); d.Host != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "") {
		p.refuse("host", "--host must be a URL like https://disco.example (set to %q)", redact.FlagValue(d.Host))
	}
	if (d.CertFile == "") != (d.KeyFile == "") {
		p.refuse("cert-file", "--cert-file and --key-file go together")
	}
	if len(d.Endpoints) > 0 && len(d.etcd) > 0 {
		p.refuse("endpoints", "Set only one of flags -endpoints and -etcd")
	}
	if len(d.Log.Outputs) == 0 {
		p.refuse("log-outputs", "--log-outputs must name at least one output: stderr, stdout or a file")
	}
}

func (p *parser) refuse(flag, format string, args ...any) {
	from := p.draft.sources[flag]
	text := fmt.Sprintf("error verifying flags, "+format, args...)
	p.faults = append(p.faults, Fault{Flag: flag, Source: from, Text: fmt.Sprintf("%s [from %s]. See 'canopy discovery --help'.", text, from)})
}

// parseEndpoint checks an entry of --endpoints.
func parseEndpoint(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", errors.New("not an endpoint: " + redact.FlagValue(s))
	}
	return strings.TrimSuffix(s, "/"), nil
}

// ServiceHelpText is what `canopy discovery --help` prints.
func ServiceHelpText() string {
	_, groups := newServiceDraft()
	var b strings.Builder
	b.WriteString("usage: canopy discovery [flags]\n\nEach flag has a variable: --data-dir is DISC_DATA_DIR. A flag wins over its variable.\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%s:\n", g.title)
		for _, r := range g.rows {
			b.WriteString(r.help())
		}
	}
	return b.String()
}
