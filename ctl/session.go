package ctl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"canopy/client"
	"canopy/ctl/prompt"
)

// session is one run of a command: what its global flags say, and the client that comes of it.
type session struct {
	Env

	endpoints, endpoint, peers string
	discoverySRV               string
	insecureDiscovery          bool
	noSync, debug              bool
	output                     string
	certFile, keyFile, caFile  string
	username, token            string
	timeout, totalTimeout      time.Duration

	answerBytes int64 // the largest answer; 0: the client's default

	given     func(flag string) bool    // whether the command line has a flag
	eachGiven func(func(f *pflag.Flag)) // calls a function for each global flag that it has
}

const (
	formatSimple   = "simple"
	formatExtended = "extended"
	formatJSON     = "json"
	formatTable    = "table"
)

const defaultEndpoints = "http://127.0.0.1:2379,http://127.0.0.1:4001"

// flags adds the global flags (section 2 of C).
func (s *session) flags(f *pflag.FlagSet) {
	f.StringVar(&s.endpoints, "endpoints", "", "client URLs of the cluster, with commas (ETCDCTL_ENDPOINTS; default "+defaultEndpoints+")")
	f.StringVar(&s.endpoint, "endpoint", "", "old name of --endpoints (ETCDCTL_ENDPOINT)")
	f.StringVarP(&s.peers, "peers", "C", "", "old name of --endpoints (ETCDCTL_PEERS)")
	f.StringVarP(&s.discoverySRV, "discovery-srv", "D", "", "domain whose SRV records name the client URLs (ETCDCTL_DISCOVERY_SRV)")
	f.BoolVar(&s.insecureDiscovery, "insecure-discovery", false, "take records for http, too, if there are some for https")
	f.BoolVar(&s.noSync, "no-sync", false, "use the endpoints as given, and do not ask for those of all members")
	f.StringVarP(&s.output, "output", "o", formatSimple, "form of the answers: simple, extended, json or, for lists, table")
	f.StringVar(&s.certFile, "cert-file", "", "certificate to show to https endpoints (ETCDCTL_CERT_FILE)")
	f.StringVar(&s.keyFile, "key-file", "", "key of --cert-file (ETCDCTL_KEY_FILE)")
	f.StringVar(&s.caFile, "ca-file", "", "authorities of https endpoints (ETCDCTL_CA_FILE; default: those of the system)")
	f.StringVarP(&s.username, "username", "u", "", "NAME or NAME:PASSWORD; without a password it is asked for (ETCDCTL_USERNAME, ETCDCTL_PASSWORD)")
	f.StringVar(&s.token, "token", "", "token of a user, instead of a password; better in ETCDCTL_TOKEN, since others see command lines")
	f.DurationVar(&s.timeout, "timeout", time.Second, "time for each endpoint to begin its answer; 0: no limit")
	f.DurationVar(&s.totalTimeout, "total-timeout", 5*time.Second, "time for the whole command, watches left out; 0: no limit")
	f.BoolVar(&s.debug, "debug", false, "show each request as a curl command on standard error")
	s.given = f.Changed
	s.eachGiven = func(each func(*pflag.Flag)) {
		f.VisitAll(func(one *pflag.Flag) {
			if one.Changed {
				each(one)
			}
		})
	}
}

// check refuses values before anything is done (C21).
func (s *session) check() error {
	if !slices.Contains([]string{formatSimple, formatExtended, formatJSON, formatTable}, s.output) {
		return usage("Unsupported output format: %s", s.output)
	}
	if s.timeout < 0 || s.totalTimeout < 0 {
		return usage("--timeout and --total-timeout must not be negative")
	}
	return nil
}

// flagOr is the value of a flag, or else of its variable.
func (s *session) flagOr(flag, value, variable string) string {
	if s.given(flag) {
		return value
	}
	return s.Getenv(variable)
}

// bounded is the context of a command that is no watch.
func (s *session) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.totalTimeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.totalTimeout)
}

// connect makes the client, and asks for the endpoints of all members (C14).
func (s *session) connect(ctx context.Context) (*client.Client, error) {
	c, err := s.dial(ctx)
	if err != nil || s.noSync {
		return c, err
	}
	return c, s.sync(ctx, c)
}

// dial makes the client of the given endpoints. It connects to nothing.
func (s *session) dial(ctx context.Context) (*client.Client, error) {
	security, err := s.tls()
	if err != nil {
		return nil, err
	}
	endpoints, login, err := s.findEndpoints(ctx, security != nil)
	if err != nil {
		return nil, err
	}
	config := client.Config{Endpoints: endpoints, Redirects: true, TLS: security, HeaderTimeout: s.timeout, DialTimeout: s.dialTimeout(), AnswerBytes: s.answerBytes}
	if s.timeout == 0 {
		config.HeaderTimeout = -1
	}
	if err := s.login(&config, login); err != nil {
		return nil, err
	}
	config.Transport = s.transport(config)
	c, err := client.New(config)
	if err != nil {
		return nil, usage("%w", err)
	}
	return c, nil
}

const dialTimeoutMax = 30 * time.Second

func (s *session) dialTimeout() time.Duration {
	limit := dialTimeoutMax
	if s.totalTimeout > 0 {
		limit = min(limit, s.totalTimeout)
	}
	if s.timeout > 0 {
		limit = min(limit, s.timeout) // a machine that answers nothing costs no more than one that accepts and is silent
	}
	return limit
}

// sync adds the endpoints of all members behind those that are given, which stay first: what members advertise may not be
// reachable from here (C14).
func (s *session) sync(ctx context.Context, c *client.Client) error {
	given := c.Endpoints()
	if s.debug {
		s.tell("start to sync cluster using endpoints(%s)", strings.Join(given, ","))
	}
	all, err := c.Members(ctx)
	if err != nil {
		if isUnreachable(err) && ctx.Err() == nil {
			return &failure{exit: exitConnection, err: err}
		}
		return err
	}
	var advertised []string
	for _, m := range all.Members {
		advertised = append(advertised, m.ClientURLs...)
	}
	if len(advertised) == 0 {
		s.tell("etcd cluster has no published client endpoints.")
		s.tell("Try '--no-sync' if you want to access non-published client endpoints(%s).", strings.Join(given, ","))
		return &failure{exit: exitServer, err: errors.New("client: no endpoints available")}
	}
	rand.Shuffle(len(advertised), func(i, j int) { advertised[i], advertised[j] = advertised[j], advertised[i] })
	if err := c.SetEndpoints(slices.Concat(given, advertised)); err != nil {
		return c.SetEndpoints(given) // a member advertises what is no URL
	}
	if s.debug {
		s.tell("got endpoints(%s) after sync", strings.Join(c.Endpoints(), ","))
		s.tell("Cluster-Endpoints: %s", strings.Join(c.Endpoints(), ", "))
	}
	return nil
}

// findEndpoints gives the endpoints: of flags, or else of variables (C8), and a login in one of them (C10).
func (s *session) findEndpoints(ctx context.Context, secure bool) (endpoints []string, login *url.Userinfo, err error) {
	if domain := s.flagOr("discovery-srv", s.discoverySRV, "ETCDCTL_DISCOVERY_SRV"); domain != "" {
		endpoints, err = client.LookupSRV(ctx, nil, domain, s.insecureDiscovery)
		return endpoints, nil, err
	}
	text := defaultEndpoints
	for _, source := range []string{
		s.endpoints, s.endpoint, s.peers, s.Getenv("ETCDCTL_ENDPOINTS"), s.Getenv("ETCDCTL_ENDPOINT"), s.Getenv("ETCDCTL_PEERS"),
	} {
		if source != "" {
			text = source
			break
		}
	}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		endpoint, user, err := parseEndpoint(item, secure)
		if err != nil {
			return nil, nil, err
		}
		if endpoints = append(endpoints, endpoint); login == nil {
			login = user
		}
	}
	return endpoints, login, nil
}

// parseEndpoint reads a URL, or host:port, which is http unless a CA or a certificate is given (C9).
func parseEndpoint(text string, secure bool) (endpoint string, login *url.Userinfo, err error) {
	if !strings.Contains(text, "://") {
		scheme := "http://"
		if secure {
			scheme = "https://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	if err != nil {
		var fault *url.Error
		if errors.As(err, &fault) {
			err = fault.Err // the text may have a password
		}
		return "", nil, usage("an endpoint is no URL: %v", err)
	}
	login, u.User = u.User, nil
	return u.String(), login, nil
}

// login finds the name and password, or token, of the requests (C10 to C12).
func (s *session) login(config *client.Config, inURL *url.Userinfo) error {
	config.Token = s.flagOr("token", s.token, "ETCDCTL_TOKEN")
	text := s.flagOr("username", s.username, "ETCDCTL_USERNAME")
	if text == "" {
		if inURL != nil {
			config.Username = inURL.Username()
			config.Password, _ = inURL.Password()
		}
		return nil
	}
	name, password, found := strings.Cut(text, ":")
	if !found {
		password = s.Getenv("ETCDCTL_PASSWORD")
	}
	if !found && password == "" {
		var err error
		if password, err = prompt.Password(s.OpenTerminal, s.In, "Password: "); err != nil {
			return err
		}
	}
	config.Username, config.Password, config.Token = name, password, ""
	return nil
}

// tls reads the files for https; nil: none are given.
func (s *session) tls() (*tls.Config, error) {
	cert, key := s.flagOr("cert-file", s.certFile, "ETCDCTL_CERT_FILE"), s.flagOr("key-file", s.keyFile, "ETCDCTL_KEY_FILE")
	ca := s.flagOr("ca-file", s.caFile, "ETCDCTL_CA_FILE")
	if cert == "" && key == "" && ca == "" {
		return nil, nil
	}
	if (cert == "") != (key == "") {
		return nil, usage("--cert-file and --key-file must be given together")
	}
	config := &tls.Config{}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usage("--cert-file %s, --key-file %s: %w", cert, key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, usage("--ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, usage("--ca-file %s: it has no certificate", ca)
		}
	}
	return config, nil
}

// transport carries requests, and shows them with --debug.
func (s *session) transport(config client.Config) http.RoundTripper {
	if !s.debug {
		return nil
	}
	return &shown{next: client.NewTransport(config), session: s}
}

// run is the body of a command that makes requests within --total-timeout.
func (s *session) run(ctx context.Context, do func(context.Context, *client.Client) error) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err = do(ctx, c); err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, client.ErrUnknownOutcome) && !errors.As(err, new(*client.Error)) {
		return fmt.Errorf("%w: --total-timeout %v", context.DeadlineExceeded, s.totalTimeout)
	}
	return err
}
