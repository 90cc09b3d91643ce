package config

// bootstrapFlags are the flags that only the first start of a data directory looks at.
type bootstrapFlags struct {
	initialCluster string
	token          string
	state          string
	discovery      string
	discoverySRV   string
}
