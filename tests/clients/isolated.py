"""The clients of containers, in a network of their own that has the addresses at which SDKs look: `isolated.py BINARY DIRECTORY SECONDS LIFE`.

Started by `unshare`. It gives the addresses to the loopback interface, starts the demo and an agent there, and runs `renewing.py` for each
client with nothing but what ECS, and what EKS Pod Identity, puts into the environment. Prints how often each read.
"""

import json
import os
import pathlib
import subprocess
import sys

from harness import FLIGHTS, Server
from test_agent import Agent, of_grant

HERE = pathlib.Path(__file__).parent
ECS, EKS = "169.254.170.2", "169.254.170.23"


def main():
    binary, directory, seconds, life = sys.argv[1], pathlib.Path(sys.argv[2]), *sys.argv[3:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (ECS, EKS):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    with Server(binary, directory) as server:
        reader = server.caller("read", "flights-lake")
        target = [of_grant(server, reader), "--ttl", f"{life}s"]
        listen = [word for at in ("127.0.0.1:0", f"{ECS}:80", f"{EKS}:80") for word in ("--listen", at)]
        agent = Agent(binary, server.api, reader.token, directory / "agent", *target, *listen)
        try:
            told = agent.variables(*target)
            common = {name: value for name, value in told.items() if "CONTAINER" not in name}
            # The form of EKS has no query: its secret is the one of the agent's own grant.
            token_file = {name: value for name, value in agent.variables().items() if name == "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}
            forms = {
                "ecs": {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": agent.url(*target)},
                "eks": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{EKS}/v1/credentials"} | token_file,
            }
            running = {
                f"{form} {client}": subprocess.Popen(
                    [sys.executable, str(HERE / "renewing.py"), client, seconds, reader.bucket, FLIGHTS],
                    env=os.environ | common | variables,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for form, variables in forms.items()
                for client in ("boto3", "obstore", "pyarrow")
            }
            done = {name: (process.communicate(timeout=120), process.returncode) for name, process in running.items()}
        finally:
            agent.stop()
        leases = server.call("GET", "/api/v1/leases?limit=500", reader.token).json()["leases"]
    failed = {name: errors for name, ((_, errors), code) in done.items() if code}
    assert not failed, failed
    print(json.dumps({"read": {name: int(out) for name, ((out, _), _) in done.items()}, "leases": len(leases)}))


if __name__ == "__main__":
    main()
