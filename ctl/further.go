package ctl

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
)

// further is the key under which the context of a command has its session.
type further struct{}

// Client makes the client that the global flags and variables ask for, for a further command. It connects to nothing.
func Client(c *cobra.Command) (*client.Client, error) { return Other(c, "", "") }

// Other makes a client as Client does, but of another endpoint, and with another login, if they are given. Both leave time and
// room for whole trees, where --timeout does not say otherwise: an etcd begins the listing of a million keys late.
func Other(c *cobra.Command, endpoint, username string) (*client.Client, error) {
	s, ok := c.Context().Value(further{}).(*session)
	if !ok {
		return nil, errors.New("this command needs the flags of canopy ctl")
	}
	patient := *s
	if patient.answerBytes = 1 << 31; !s.given("timeout") {
		patient.timeout = time.Minute
	}
	if endpoint == "" {
		return patient.dial(c.Context())
	}
	return patient.other(endpoint, username).dial(c.Context())
}

// other is this session with another endpoint, and with another login if one is given.
func (s *session) other(endpoint, username string) *session {
	other := *s
	other.endpoints, other.discoverySRV = endpoint, ""
	given := s.given
	other.given = func(flag string) bool {
		return given(flag) || flag == "discovery-srv" || username != "" && flag == "username"
	}
	if username != "" {
		other.username = username
	}
	return &other
}

// with gives a context that has the session.
func (s *session) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, further{}, s)
}
