"""An agent on the official SDK of protocol 0.3, which does what the message's text says."""

import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.apps import A2AStarletteApplication
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    DataPart,
    FilePart,
    FileWithBytes,
    FileWithUri,
    Part,
    TextPart,
    UnsupportedOperationError,
)
from a2a.utils import new_agent_text_message, new_task
from a2a.utils.errors import ServerError
from a2a.utils.message import new_agent_parts_message


def text(words):
    return Part(root=TextPart(text=words))


class Agent(AgentExecutor):
    async def execute(self, context, event_queue):
        does, _, rest = context.get_user_input().partition(" ")
        if does == "echo":
            await event_queue.enqueue_event(new_agent_text_message(f"echo: {rest}", context.context_id))
            return
        if does == "parts":
            parts = [
                text("see"),
                Part(root=DataPart(data={"a": [1, 2.5, None]})),
                Part(root=FilePart(file=FileWithBytes(bytes="aGk=", mime_type="text/plain", name="hi.txt"))),
                Part(root=FilePart(file=FileWithUri(uri="https://files.example/x", mime_type="image/png"))),
            ]
            await event_queue.enqueue_event(new_agent_parts_message(parts, context.context_id))
            return
        if does == "received":
            kinds = ",".join(part.root.kind for part in context.message.parts)
            words = f"{kinds} context={context.message.context_id} metadata={context.message.metadata}"
            await event_queue.enqueue_event(new_agent_text_message(words, context.context_id))
            return
        if does == "error":
            raise ServerError(error=UnsupportedOperationError(message="not this", data={"why": ["a", 1]}))
        task = context.current_task
        if task is None:
            task = new_task(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        said = updater.new_agent_message([text(f"{does} it is")])
        if does == "complete":
            await updater.add_artifact([text("the artifact"), Part(root=DataPart(data={"n": 7}))], name="result")
            await updater.complete()
        elif does == "fail":
            await updater.failed(said)
        elif does == "reject":
            await updater.reject(said)
        elif does == "ask":
            await updater.requires_input(said)

    async def cancel(self, context, event_queue):
        raise ServerError(error=UnsupportedOperationError())


def main(port, workspace):
    path = f"/workspaces/{workspace}/a2a"
    card = AgentCard(
        name="interop",
        description="",
        url=f"http://127.0.0.1:{port}{path}",
        version="1",
        capabilities=AgentCapabilities(),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[],
    )
    handler = DefaultRequestHandler(Agent(), InMemoryTaskStore())
    app = A2AStarletteApplication(card, handler).build(rpc_url=path)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


main(int(sys.argv[1]), sys.argv[2])
