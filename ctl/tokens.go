package ctl

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
)

func (s *session) tokenAddCommand() *cobra.Command {
	var lifetime time.Duration
	var roles []string
	c := &cobra.Command{Use: "add", Short: "Make a token of the user of --username, and print its secret, which is shown once", Args: atMost(0)}
	c.Flags().DurationVar(&lifetime, "lifetime", 0, "time until it expires; 0: never")
	c.Flags().StringSliceVar(&roles, "roles", nil, "roles that it is limited to, with commas; default: all of the user")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			t, err := cl.CreateToken(ctx, lifetime, roles...)
			if err != nil {
				return err
			}
			if s.output == formatJSON {
				return s.json(toTokenJSON(t))
			}
			s.printf("%s\n", t.Secret)
			return nil
		})
	}
	return c
}

// tokenJSON is a token of -o json.
type tokenJSON struct {
	ID      string     `json:"id"`
	Secret  string     `json:"token,omitempty"`
	User    string     `json:"user"`
	Roles   []string   `json:"roles,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

func toTokenJSON(t client.Token) tokenJSON {
	j := tokenJSON{ID: t.ID, Secret: t.Secret, User: t.User, Roles: t.Roles}
	if !t.Expires.IsZero() {
		j.Expires = &t.Expires
	}
	return j
}

func (s *session) tokenListCommand() *cobra.Command {
	var user string
	c := &cobra.Command{Use: "list", Short: "List one's own tokens, or as root those of another user", Args: noArguments}
	c.Flags().StringVar(&user, "of", "", "user whose tokens are listed")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			all, err := cl.Tokens(ctx, user)
			if err != nil {
				return err
			}
			return s.printTokens(all)
		})
	}
	return c
}

func (s *session) printTokens(all []client.Token) error {
	list, rows := []tokenJSON{}, [][]string{}
	for _, t := range all {
		expires := "never"
		if !t.Expires.IsZero() {
			expires = t.Expires.UTC().Format(time.RFC3339)
		}
		list, rows = append(list, toTokenJSON(t)), append(rows, []string{t.ID, t.User, expires})
	}
	switch s.output {
	case formatJSON:
		return s.json(list)
	case formatTable:
		return s.table([]string{"ID", "USER", "EXPIRES"}, rows)
	}
	for _, row := range rows {
		s.printf("%s: user=%s expires=%s\n", row[0], row[1], row[2])
	}
	return nil
}

func (s *session) tokenRevokeCommand() *cobra.Command {
	return s.named("revoke ID", "End a token", "Please provide the ID of a token", func(ctx context.Context, c *client.Client, id string) error {
		if err := c.RevokeToken(ctx, id); err != nil {
			return err
		}
		s.printf("Token %s revoked\n", id)
		return nil
	})
}
