package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/temporaltest"
)

const (
	composeFile = "../../docker-compose.yml"
	ourImage    = "vidflow:local"
)

// loadCompose loads the file as docker compose does, with nothing set.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithEnv(env), cli.WithDiscardEnvFile)
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// ours are the services that run the binary, by name, with their command line and environment.
func ours(t *testing.T, project *types.Project) map[string]*composed {
	t.Helper()
	services := make(map[string]*composed)
	for name, service := range project.Services {
		if service.Image != ourImage {
			continue
		}
		line, err := parse(service.Command, io.Discard, io.Discard)
		if err != nil {
			t.Fatalf("%s: the binary does not know the command: %v", name, err)
		}
		env := make(map[string]string)
		for key, value := range service.Environment {
			if value == nil {
				t.Errorf("%s: %s is taken from the environment of whoever runs compose", name, key)
				continue
			}
			env[key] = *value
		}
		services[name] = &composed{ServiceConfig: service, commands: line.commands, env: env}
	}
	return services
}

type composed struct {
	types.ServiceConfig
	commands []config.Command
	env      map[string]string
}

func TestCompose_runs_every_command(t *testing.T) {
	t.Parallel()
	var got []config.Command
	for _, service := range ours(t, loadCompose(t)) {
		got = append(got, service.commands...)
	}
	want := slices.Clone(config.Commands)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the file runs %v, the binary has %v", got, want)
	}
}

// Each service has every variable that its command needs, no other, and no value that the binary refuses.
func TestCompose_variables(t *testing.T) {
	t.Parallel()
	for name, service := range ours(t, loadCompose(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := config.Load(service.commands, nil, service.env); err != nil {
				t.Error(err)
			}
			variables := config.Variables()
			for key := range service.env {
				i := slices.IndexFunc(variables, func(v config.Variable) bool { return v.Name == key })
				switch {
				case i < 0:
					t.Errorf("there is no variable %s", key)
				case !variables[i].NeededBy(service.commands):
					t.Errorf("%v does not read %s", service.commands, key)
				}
			}
		})
	}
}

// What the file takes from the environment is called as in the binary, and reaches it.
func TestCompose_takes_variables_from_the_environment(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]string{
		"LOG_LEVEL": "debug", "JWT_SECRET": "another-secret-that-is-long-enough", "ALLOWED_ORIGINS": "https://example.org",
		"TRANSCRIPTION_ASK_AGAIN_AFTER": "1h", "TRANSCRIPTION_MAX_ASKS": "5",
		"COMPRESSION_OVERDUE_AFTER": "2h", "COMPRESSION_GIVE_UP_AFTER": "3h", "UNKNOWN_VIDEO_GRACE": "4m",
	}
	var env []string
	for key, value := range given {
		env = append(env, key+"="+value)
	}
	services := ours(t, loadCompose(t, env...))
	taken := regexp.MustCompile(`\$\{([A-Z_]+):-`).FindAllStringSubmatch(string(text), -1)
	if len(taken) != len(given) {
		t.Errorf("the file takes %d variables, the test gives %d", len(taken), len(given))
	}
	for _, match := range taken {
		reached := false
		for _, service := range services {
			if value, ok := service.env[match[1]]; ok {
				reached = true
				if value != given[match[1]] {
					t.Errorf("%s: %s is %q, want %q", service.Name, match[1], value, given[match[1]])
				}
			}
		}
		if !reached {
			t.Errorf("%s reaches no service", match[1])
		}
	}
}

// Every address that the binary is given is one where a service of the file listens.
func TestCompose_addresses(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	listens := map[string]bool{ // host:port inside the network
		"postgres:5432": true, "kafka:9092": true, "temporal:7233": true, "supabase.localhost:8001": true,
	}
	checkListens(t, project, listens)

	for name, service := range ours(t, project) {
		for key, value := range service.env {
			address := value
			switch key {
			case "KAFKA_BROKERS", "TEMPORAL_ADDRESS":
			case "SUPABASE_URL", "DATABASE_URL":
				u, err := url.Parse(value)
				if err != nil {
					t.Fatal(err)
				}
				address = u.Host
			default:
				continue
			}
			if !listens[address] {
				t.Errorf("%s: nothing listens at %s %s", name, key, address)
			}
		}
	}
}

// checkListens holds the list above against the file: service or alias by name, and the port where it says so.
func checkListens(t *testing.T, project *types.Project, listens map[string]bool) {
	t.Helper()
	for address := range listens {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(project.ServiceNames(), func(name string) bool {
			network := project.Services[name].Networks["default"]
			return name == host || network != nil && slices.Contains(network.Aliases, host)
		})
		if i < 0 {
			t.Errorf("no service is called %s", host)
			continue
		}
		service := project.Services[project.ServiceNames()[i]]
		published := slices.ContainsFunc(service.Ports, func(p types.ServicePortConfig) bool {
			return strconv.Itoa(int(p.Target)) == port
		})
		listener := service.Environment["KAFKA_LISTENERS"]
		if !published && (listener == nil || !strings.Contains(*listener, "://:"+port)) {
			t.Errorf("%s does not listen at %s", service.Name, port)
		}
	}
}

func TestCompose_ports(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s opens port %d to the network", name, port.Target)
			}
		}
	}
	services := ours(t, project)
	for name, service := range services {
		cfg, err := config.Load(service.commands, nil, service.env)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if slices.Contains(service.commands, config.Starter) {
			want = []string{strconv.Itoa(cfg.API.Port)}
		}
		var got []string
		for _, port := range service.Ports {
			got = append(got, fmt.Sprint(port.Target))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s opens %v, want %v", name, got, want)
		}
	}
}

// Every service that stays is probed; ours by the command that asks at OPS_ADDR, and in time.
func TestCompose_health_checks(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	for name, service := range project.Services {
		if service.Restart == "no" {
			if service.HealthCheck != nil {
				t.Errorf("%s ends, and is probed", name)
			}
			continue
		}
		check := service.HealthCheck
		if check == nil || len(check.Test) == 0 || check.Interval == nil || check.Timeout == nil || check.Retries == nil {
			t.Errorf("%s stays, and has no health check", name)
		}
	}
	for name, service := range ours(t, project) {
		if service.Restart == "no" {
			continue
		}
		test := service.HealthCheck.Test
		if len(test) < 2 || test[0] != "CMD" || test[1] != "/vidflow" {
			t.Errorf("%s: health check %v", name, test)
			continue
		}
		line, err := parse(test[2:], io.Discard, io.Discard)
		if err != nil || line.command != probeCommand {
			t.Errorf("%s: health check %v: %v", name, test, err)
		}
		if time.Duration(*service.HealthCheck.Timeout) < probeTimeout {
			t.Errorf("%s: the probe may take %s and has %s", name, probeTimeout, service.HealthCheck.Timeout)
		}
		if _, _, err := net.SplitHostPort(service.env["OPS_ADDR"]); err != nil {
			t.Errorf("%s: OPS_ADDR: %v", name, err)
		}
		cfg, err := config.Load(service.commands, nil, service.env)
		if err != nil {
			t.Fatal(err)
		}
		if grace := service.StopGracePeriod; grace == nil || time.Duration(*grace) < cfg.Process.ShutdownTimeout+process.ShutdownGrace {
			t.Errorf("%s: grace of %v for a shutdown that may take %s", name, grace, cfg.Process.ShutdownTimeout)
		}
	}
}

// A service waits for what ends until it has, and for what stays until it is healthy.
func TestCompose_order(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	for name, service := range project.Services {
		for on, dependency := range service.DependsOn {
			want := types.ServiceConditionHealthy
			if project.Services[on].Restart == "no" {
				want = types.ServiceConditionCompletedSuccessfully
			}
			if dependency.Condition != want {
				t.Errorf("%s waits for %s to be %s, want %s", name, on, dependency.Condition, want)
			}
		}
	}
}

// Nothing creates topics by itself: the file has a job for each that the binary wants, dead letters included.
func TestCompose_topics(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	job := strings.Join(project.Services["kafka-topics"].Command, " ")
	created := strings.Fields(regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(job, " "))
	for name, service := range ours(t, project) {
		cfg, err := config.Load(service.commands, nil, service.env)
		if err != nil {
			t.Fatal(err)
		}
		topics := []string{cfg.Kafka.ProduceTopic, cfg.Kafka.ConsumeTopic, cfg.Kafka.CompressionTopic}
		if slices.Contains(service.commands, config.KafkaBridge) {
			topics = append(topics, cfg.Kafka.ConsumeTopic+contract.DeadLetterSuffix, cfg.Kafka.CompressionTopic+contract.DeadLetterSuffix)
		}
		for _, topic := range topics {
			if topic != "" && !slices.Contains(created, topic) {
				t.Errorf("%s wants the topic %s, and nothing creates it", name, topic)
			}
		}
	}
}

func TestCompose_versions_are_pinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$`)
	for name, service := range loadCompose(t).Services {
		if service.Image != ourImage && !pinned.MatchString(service.Image) {
			t.Errorf("%s: image %s has no version", name, service.Image)
		}
		if service.Image == ourImage && service.Build == nil {
			t.Errorf("%s: nothing builds its image", name)
		}
	}
}

// The image is built with the Go of go.mod, and holds nothing but the binary and the authorities to trust. What it does is
// tested by make test-image.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module))[1]
	if !regexp.MustCompile(`(?m)^FROM --platform=\$BUILDPLATFORM golang:` + regexp.QuoteMeta(version) + `-`).Match(dockerfile) {
		t.Errorf("the image is not built with Go %s of go.mod", version)
	}
	_, final, found := strings.Cut(string(dockerfile), "\nFROM scratch\n")
	if !found || strings.Contains(final, "FROM ") {
		t.Fatal("the final stage is not from scratch")
	}
	for _, want := range []string{"/ca-certificates.crt", "USER 65532:65532", `ENTRYPOINT ["/vidflow"]`} {
		if !strings.Contains(final, want) {
			t.Errorf("the final stage has no %s", want)
		}
	}
}

// TestServers_compose_makes_the_namespace, where it is not there, and leaves one that is.
func TestServers_compose_makes_the_namespace(t *testing.T) {
	t.Parallel()
	command := loadCompose(t).Services["temporal-namespace"].Command
	if len(command) != 1 || !strings.Contains(command[0], "--namespace default") {
		t.Fatalf("the service runs %q, want a script that makes the namespace default", command)
	}
	name := "composed-" + strings.ToLower(rand.Text()[:10])
	script := strings.ReplaceAll(command[0], "--namespace default", "--namespace "+name)
	for _, made := range []bool{true, false} {
		if said := temporaltest.Paste(t, script); strings.Contains(said, "successfully registered") != made {
			t.Errorf("%s\nsays:\n%s\nand is to make it: %v", script, said, made)
		}
	}
}
