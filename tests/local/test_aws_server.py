"""The local AWS server beside S3: each service that answers does so at one address, and SQS loses no message."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fix_up import wait_for
from tradewind.local.processes import free_port
from tradewind.local.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server

CROWD = """
import collections, json, sys, threading
from tradewind.local.aws_services import keep_messages_whole
keep_messages_whole()
from moto.sqs.models import sqs_backends
sys.setswitchinterval(1e-6)
sqs = sqs_backends["123456789012"]["us-east-1"]
sqs.create_queue("work", {})
received, sent = collections.Counter(), threading.Event()

def send(first):
    for number in range(first, 600, 2):
        sqs.send_message("work", str(number))

def receive():
    while True:
        last = sent.is_set()
        found = sqs.receive_message("work", 2, 0, 3600)
        for message in found:
            received[message.body] += 1
            sqs.delete_message("work", message.receipt_handle)
        if last and not found:
            return

senders = [threading.Thread(target=send, args=(first,)) for first in (0, 1)]
receivers = [threading.Thread(target=receive) for _ in range(6)]
for thread in senders + receivers:
    thread.start()
for thread in senders:
    thread.join()
sent.set()
for thread in receivers:
    thread.join()
print(json.dumps(received))
"""
ROLE = "arn:aws:iam::123456789012:role/machine"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture
def aws(server: S3Server) -> Callable[..., Any]:
    """Return a function that makes a client for a service."""
    import boto3

    client: Any = boto3.client

    def make(service: str, endpoint: str | None = None) -> Any:
        return client(
            service,
            endpoint_url=endpoint or server.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    return make


@pytest.fixture
def queue(aws: Callable[[str], Any]) -> Iterator[tuple[Any, str]]:
    """Return a client and the address of a queue whose messages stay with who received them."""
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName="work", Attributes={"VisibilityTimeout": "43200"})["QueueUrl"]
    yield sqs, url
    sqs.delete_queue(QueueUrl=url)


def test_a_role_is_made_and_assumed(aws: Callable[[str], Any]) -> None:
    arn = aws("iam").create_role(RoleName="reader", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    session = aws("sts").assume_role(RoleArn=arn, RoleSessionName="a-session")

    assert session["AssumedRoleUser"]["Arn"].endswith("assumed-role/reader/a-session")
    assert session["Credentials"]["SessionToken"]


def test_a_state_machine_runs_and_its_tasks_reach_the_other_services(
    aws: Callable[[str], Any], queue: tuple[Any, str]
) -> None:
    sqs, url = queue
    states = {
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.count", "NumericGreaterThan": 2, "Next": "Send"}],
            "Default": "Give up",
        },
        "Give up": {"Type": "Fail", "Error": "TooFew", "Cause": "three are needed"},
        "Send": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage",
            "Parameters": {"QueueUrl": url, "MessageBody.$": "States.Format('{} came', $.count)"},
            "End": True,
        },
    }
    machines = aws("stepfunctions")
    definition = json.dumps({"StartAt": "Choose", "States": states})
    machine = machines.create_state_machine(name="counting", definition=definition, roleArn=ROLE)["stateMachineArn"]

    def outcome(count: int) -> dict[str, Any]:
        started = machines.start_execution(stateMachineArn=machine, input=json.dumps({"count": count}))
        arn = started["executionArn"]
        wait_for(lambda: machines.describe_execution(executionArn=arn)["status"] != "RUNNING", 60, "its end")
        found: dict[str, Any] = machines.describe_execution(executionArn=arn)
        return found

    assert outcome(3)["status"] == "SUCCEEDED"
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "3 came"
    failed = outcome(2)
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "TooFew", "three are needed")


def test_a_statement_is_taken_by_redshift_data(aws: Callable[[str], Any]) -> None:
    redshift = aws("redshift-data")
    id = redshift.execute_statement(ClusterIdentifier="c", Database="d", Sql="select 1", ClientToken="t")["Id"]

    assert redshift.describe_statement(Id=id)["QueryString"] == "select 1"


def test_each_message_is_handed_out_once_and_none_is_lost() -> None:
    # In a process whose threads take turns so often that what is not locked goes wrong.
    done = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, timeout=300, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {str(number): 1 for number in range(600)}


def test_a_client_that_went_away_while_it_waited_gets_no_message(server: S3Server, queue: tuple[Any, str]) -> None:
    sqs, url = queue
    gone = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    credential = f"Credential=test/20240101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.ReceiveMessage",
        "Authorization": f"AWS4-HMAC-SHA256 {credential}",
    }
    gone.request("POST", "/", json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}), headers)
    time.sleep(1)  # it waits in the server now
    gone.close()

    sqs.send_message(QueueUrl=url, MessageBody="for who is there")

    found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert [message["Body"] for message in found] == ["for who is there"]


def test_messages_of_a_kept_queue_outlive_a_kill(tmp_path: Path, aws: Callable[..., Any]) -> None:
    port = free_port()
    arguments = (str(port), tmp_path, "127.0.0.1", tmp_path / "messages", "default", "43200")
    sqs = aws("sqs", f"http://127.0.0.1:{port}")

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "tradewind.local.s3_process", *arguments])
        wait_for(lambda: answers(port) or process.poll() is not None, 90, "the server")
        return process

    process = start()
    try:
        url = sqs.get_queue_url(QueueName="default")["QueueUrl"]
        for body in ("done", "under way", "new"):
            sqs.send_message(QueueUrl=url, MessageBody=body)
        done, under_way = (sqs.receive_message(QueueUrl=url)["Messages"][0] for _ in range(2))
        sqs.delete_message(QueueUrl=url, ReceiptHandle=done["ReceiptHandle"])
        process.kill()
        process.wait()
        process = start()

        assert [message["Body"] for message in received(sqs, url)] == ["new"]
        assert received(sqs, url) == []
        sqs.delete_message(QueueUrl=url, ReceiptHandle=under_way["ReceiptHandle"])
        held = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert held["ApproximateNumberOfMessagesNotVisible"] == "1"
        assert held["VisibilityTimeout"] == "43200"
    finally:
        process.kill()
        process.wait()


def received(sqs: Any, url: str) -> list[dict[str, Any]]:
    return list(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))


def answers(port: int) -> bool:
    with socket.socket() as channel:
        return channel.connect_ex(("127.0.0.1", port)) == 0


def test_queues_are_forgotten_and_buckets_are_kept(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        server.client().create_bucket(Bucket="kept")
        assert server.client().list_buckets()["Buckets"][0]["Name"] == "kept"
    with S3Server(tmp_path) as server:
        assert server.client().list_buckets()["Buckets"][0]["Name"] == "kept"
