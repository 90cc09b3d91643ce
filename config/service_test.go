package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServiceFlags(t *testing.T) {
	defaults := Service{Listen: ":8087", DataDir: "discovery.canopy", TokenTTL: 7 * 24 * time.Hour, Rate: 20, NewRate: 60,
		Log: Log{Level: "info", Format: "text", Outputs: []string{"stderr"}}}
	with := func(change func(*Service)) Service { s := defaults; change(&s); return s }
	for _, tt := range []struct {
		argv, environ string
		want          Service
	}{
		{"", "", defaults},
		{"", "ETCD_NAME=x", defaults},
		{"-addr 127.0.0.1:1 --endpoints http://b:1,http://a:1/", "", with(func(s *Service) { s.Listen, s.Endpoints = "127.0.0.1:1", []string{"http://a:1", "http://b:1"} })},
		{"", "DISC_ADDR=:1 DISC_ETCD=http://a:1 DISC_HOST=https://d.example", with(func(s *Service) { s.Listen, s.Endpoints, s.Host = ":1", []string{"http://a:1"}, "https://d.example" })},
		{"--addr :2", "DISC_ADDR=:1 DISC_TOKEN_TTL=0", with(func(s *Service) { s.Listen, s.TokenTTL = ":2", 0 })},
		{"--data-dir d --cert-file c --key-file k --behind-proxy --rate 0 --new-rate 1 --log-level warning", "",
			with(func(s *Service) {
				s.DataDir, s.CertFile, s.KeyFile, s.Forwarded, s.Rate, s.NewRate, s.Log.Level = "d", "c", "k", true, 0, 1, "warn"
			})},
	} {
		in, err := ParseService(strings.Fields(tt.argv), strings.Fields(tt.environ))
		if diff := cmp.Diff(tt.want, in.Service); err != nil || in.Action != Serve || diff != "" {
			t.Errorf("ParseService(%q, %q): %v, (-want +got)\n%s", tt.argv, tt.environ, err, diff)
		}
	}
	for argv, want := range map[string]Action{"--help": Help, "-h": Help, "--version": Version} {
		if in, err := ParseService([]string{argv}, nil); err != nil || in.Action != want {
			t.Errorf("ParseService(%s) = %v, %v, want %v", argv, in.Action, err, want)
		}
	}
}

func TestServiceFaults(t *testing.T) {
	for _, tt := range []struct {
		argv, environ string
		exit          int
		want          string
	}{
		{"--name x", "", 2, "flag provided but not defined: -name"},
		{"--addr", "", 2, "flag needs an argument: -addr"},
		{"--addr localhost", "", 1, "--addr must be host:port"},
		{"--host disco.example", "", 1, "--host must be a URL"},
		{"--endpoints a:1", "", 2, "not an endpoint"},
		{"", "DISC_ENDPOINTS=http://a:1/x", 1, "not an endpoint"},
		{"--endpoints http://a:1 --etcd http://b:1", "", 1, "only one of flags -endpoints and -etcd"},
		{"--cert-file c", "", 1, "--cert-file and --key-file go together"},
		{"--token-ttl 1s", "", 1, "--token-ttl must be 1m to 87600h, or 0 = for ever"},
		{"--rate -1", "", 2, "invalid value"},
		{"--log-outputs ,", "", 1, "--log-outputs must name at least one output"},
		{"extra", "", 1, "'extra' is not a valid flag"},
	} {
		_, err := ParseService(strings.Fields(tt.argv), strings.Fields(tt.environ))
		var e *Error
		if !errors.As(err, &e) || e.Exit != tt.exit || !strings.Contains(e.Error(), tt.want) {
			t.Errorf("ParseService(%q, %q) = %v, want exit %d and %s", tt.argv, tt.environ, err, tt.exit, tt.want)
		}
	}
}

// TestTheManualKnowsTheService compares the names and defaults in docs/discovery.md with the table of flags.
func TestTheManualKnowsTheService(t *testing.T) {
	data, err := os.ReadFile("../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, groups := newServiceDraft()
	for _, g := range groups {
		for _, r := range g.rows {
			if r.command == Serve && !strings.Contains(string(data), "| `--"+r.name+"` | "+manualDefault(r)+" |") {
				t.Errorf("the manual lacks the line of --%s, default %s", r.name, manualDefault(r))
			}
		}
	}
	if help := ServiceHelpText(); strings.Count(help, "\n  --") != 17 {
		t.Errorf("the help does not show 16 flags:\n%s", help)
	}
}
