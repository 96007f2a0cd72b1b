module koalesce.dev/build/probe

go 1.25.0
