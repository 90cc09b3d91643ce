package command

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl"
	"canopy/migration/live"
)

func mirror() *cobra.Command {
	c := &cobra.Command{
		Use:   "mirror --from URL --to URL|--to-v3 URL",
		Short: "Copy keys from a running cluster to another one, and follow until interrupted",
		Long: "Copy keys from a running etcd or canopy to another cluster, and follow its changes until interrupted: then stop the\n" +
			"writers, wait until nothing is behind, press ^C, and switch the clients.\n\n" +
			"Indexes change, and TTLs begin anew with what is left. Hidden keys are taken if --hidden names them. Bytes that are not\n" +
			"UTF-8 arrive as U+FFFD, as the API shows them: export and import keep them. With --to-v3 the\n" +
			"target is an etcd v3: keys are full paths, directories are left out, TTLs become leases.",
		Args: cobra.NoArgs,
	}
	m := &live.Mirror{}
	var from, to, toV3, fromUser, toUser string
	flags := c.Flags()
	flags.StringVar(&from, "from", "", "client URLs of the source, with commas")
	flags.StringVar(&to, "to", "", "client URLs of the target")
	flags.StringVar(&toV3, "to-v3", "", "client URLs of the target, an etcd v3 with its JSON gateway (3.4 and later)")
	flags.StringVar(&fromUser, "from-username", "", "NAME or NAME:PASSWORD at the source, if not that of --username")
	flags.StringVar(&toUser, "to-username", "", "NAME or NAME:PASSWORD at the target, if not that of --username")
	flags.StringVar(&m.Key, "key", "/", "copy this key and all below it")
	flags.StringArrayVar(&m.Hidden, "hidden", nil, "copy this hidden key, too")
	flags.BoolVar(&m.Once, "once", false, "copy, and do not follow")
	flags.BoolVar(&m.Delete, "delete", false, "delete what only the target has")
	flags.DurationVar(&m.Every, "every", 5*time.Second, "how often to tell how far behind it is")
	return usage(c, func(c *cobra.Command, _ []string) error {
		if from == "" || (to == "") == (toV3 == "") || m.Every <= 0 {
			return errors.New("give --from, and --to or --to-v3")
		}
		for _, key := range append([]string{m.Key}, m.Hidden...) {
			if !strings.HasPrefix(key, "/") {
				return fmt.Errorf("%q is no key: it begins with a slash", key)
			}
		}
		var mu sync.Mutex
		m.Log = func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(c.ErrOrStderr(), "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
		}
		var err error
		if m.From, err = ctl.Other(c, from, fromUser); err != nil {
			return err
		}
		defer m.From.Close()
		var target *client.Client
		if target, err = ctl.Other(c, to+toV3, toUser); err != nil {
			return err
		}
		defer target.Close()
		m.To = live.V2{Client: target}
		if toV3 != "" {
			m.To = live.V3{Client: target}
		}
		return m.Run(c.Context())
	})
}
